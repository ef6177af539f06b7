/*
 * special.h - border.c: entries that border_special.c writes by hand. SPDX-License-Identifier: MIT
 */
S(ExInitializeLookasideListEx)
S(ExInitializeNPagedLookasideList)
S(ExInitializePagedLookasideList)
S(MmGetSystemRoutineAddress)
