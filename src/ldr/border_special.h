/*
 * border_special.h - the hand-written entries, for the table in border.c. SPDX-License-Identifier: MIT
 */
#pragma once
#include <ntifs.h>
#include "ldr/border.h"

/* At system start: the bounds of the border's code, and which entries a foreign lookaside list carries. */
VOID LdrpInitBorder(VOID);
const LDR_ENTRY *LdrpFindWide(PUNICODE_STRING Name);

PVOID LDR_BORDER Border_MmGetSystemRoutineAddress(PUNICODE_STRING Name);
VOID LDR_BORDER Border_ExInitializeNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside, PALLOCATE_FUNCTION Allocate,
                                                       PFREE_FUNCTION Free, ULONG Flags, SIZE_T Size, ULONG Tag, USHORT Depth);
VOID LDR_BORDER Border_ExInitializePagedLookasideList(PPAGED_LOOKASIDE_LIST Lookaside, PALLOCATE_FUNCTION Allocate,
                                                      PFREE_FUNCTION Free, ULONG Flags, SIZE_T Size, ULONG Tag, USHORT Depth);
NTSTATUS LDR_BORDER Border_ExInitializeLookasideListEx(PLOOKASIDE_LIST_EX Lookaside, PALLOCATE_FUNCTION_EX Allocate,
                                                       PFREE_FUNCTION_EX Free, POOL_TYPE PoolType, ULONG Flags, SIZE_T Size,
                                                       ULONG Tag, USHORT Depth);
