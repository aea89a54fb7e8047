// Nothing to be known about the processor.
#pragma once
