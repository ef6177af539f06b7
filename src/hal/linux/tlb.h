/*
 * tlb.h - what tests see of the software-filled TLB (tlb.c). SPDX-License-Identifier: MIT
 */
#pragma once
#include <ntdef.h>

/* Checks every invariant of tlb.c; NULL, or the text of the one that is broken. */
const CHAR *HalpValidateTb(VOID);
