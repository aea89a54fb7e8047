"""What `mww doctor` looks at: this installation and this machine."""
