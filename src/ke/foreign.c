/*
 * foreign.c - what the core knows of driver binaries: where the border's entries lie, and how a thread is made ready for
 * foreign code. Both are set by the loader at system start; without a loader no code is foreign.
 * SPDX-License-Identifier: MIT
 *
 * Invariant: KiPrepareForeignRoutine is set whenever KiIsForeignCode can be true.
 */
#include "ke/ki.h"

ULONG_PTR KiBorderStart, KiBorderEnd;
VOID (*KiPrepareForeignRoutine)(VOID);
#ifdef KI_TSAN
CHAR KiForeignOrder;
#endif
