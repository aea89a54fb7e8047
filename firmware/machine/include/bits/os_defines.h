// Nothing to be known about the system.
#pragma once
