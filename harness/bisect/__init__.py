"""Why a target's outputs are not the golden ones."""
