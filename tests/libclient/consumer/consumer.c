/* SPDX-License-Identifier: MIT */
/* A program of somebody else's: runs with the library that it was built with. */
#include <dmabroker/dmabroker.h>

int main(void) { return dmabroker_version() == DMABROKER_VERSION ? 0 : 1; }
