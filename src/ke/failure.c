/*
 * failure.c - simulated failure: the one question that every routine asks which could fail for want of a resource.
 * SPDX-License-Identifier: MIT
 *
 * KiFailHere (ki.h) is one load while nobody simulates. Whoever does (the Verifier's low resources simulation, a campaign that
 * fails every allocation once) sets KiFailRoutine, which is called on the thread that asks, at its IRQL, with no lock held; TRUE
 * makes the routine fail exactly as its contract says it does when memory is short: NULL, a status, or an exception.
 *
 * Invariant: F1  a routine asks once for what its caller sees as one request, before it has changed anything.
 */
#include "ke/ki.h"

BOOLEAN (*volatile KiFailRoutine)(KI_RESOURCE Resource, ULONG Tag, SIZE_T Bytes);
