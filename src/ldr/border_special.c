/*
 * border_special.c - border entries that a prototype does not describe: variadic ones, and those that give the driver
 * pointers to our code, which must be border entries. SPDX-License-Identifier: MIT
 *
 * MmGetSystemRoutineAddress gives source drivers the native routine (system.c) and binary ones the entry, both from one
 * table, so that what drivers may import and what they may look up are the same.
 */
#include <ntifs.h>
#include "ex/ex.h"
#include "ldr/border_special.h"
#include "io/pnp.h"

/* The name of a routine or a module is ASCII; anything longer or stranger is not one of ours. */
BOOLEAN LdrpNarrowName(PUNICODE_STRING Name, CHAR *Narrow, ULONG Room)
{
    ULONG Length = Name != NULL ? Name->Length / sizeof(WCHAR) : 0;
    if (Length == 0 || Length >= Room) {
        return FALSE;
    }
    for (ULONG Index = 0; Index < Length; Index++) {
        if (Name->Buffer[Index] == 0 || Name->Buffer[Index] > '~') {
            return FALSE;
        }
        Narrow[Index] = (CHAR)Name->Buffer[Index];
    }
    Narrow[Length] = 0;
    return TRUE;
}

const LDR_ENTRY *LdrpFindWide(PUNICODE_STRING Name)
{
    CHAR Narrow[128];
    return LdrpNarrowName(Name, Narrow, sizeof(Narrow)) ? LdrFindEntry(Narrow) : NULL;
}

PVOID LDR_BORDER Border_MmGetSystemRoutineAddress(PUNICODE_STRING Name)
{
    KI_CALLED_BY_FOREIGN;
    LDR_IRQL_RULE("MmGetSystemRoutineAddress");
    const LDR_ENTRY *Entry = LdrpFindWide(Name);
    return LdrEntryAddress(Entry, TRUE);
}

/* ---- lookaside lists: the driver's own inlined code calls Allocate and Free ---- */
static PVOID LDR_BORDER LdrpAllocateEx(POOL_TYPE Type, SIZE_T Bytes, ULONG Tag, PLOOKASIDE_LIST_EX Lookaside)
{
    KI_CALLED_BY_FOREIGN;
    (VOID) Lookaside;
    return ExAllocatePoolWithTag(Type, Bytes, Tag);
}

static VOID LDR_BORDER LdrpFreeEx(PVOID Block, PLOOKASIDE_LIST_EX Lookaside)
{
    KI_CALLED_BY_FOREIGN;
    (VOID) Lookaside;
    (ExFreePool)(Block);
}

/* One more routine that is called across the border. Threads of the system are there already and look. */
static VOID LdrpStretchBorder(PVOID Border)
{
    if (KiBorderEnd == 0 || (ULONG_PTR)Border < KiBorderStart) {
        __atomic_store_n(&KiBorderStart, (ULONG_PTR)Border, __ATOMIC_RELAXED);
    }
    if ((ULONG_PTR)Border >= KiBorderEnd) {
        __atomic_store_n(&KiBorderEnd, (ULONG_PTR)Border + 1, __ATOMIC_RELAXED);
    }
}

VOID LdrpInitBorder(VOID)
{
    for (ULONG Index = 0; Index < LdrEntryCount; Index++) {
        if (LdrEntries[Index].Kind == LdrRoutine) {
            LdrpStretchBorder(LdrEntries[Index].Border);
        }
    }
    LdrpStretchBorder((PVOID)LdrpAllocateEx);
    LdrpStretchBorder((PVOID)LdrpFreeEx);
    ExpForeignAllocate = LdrFindEntry("ExAllocatePoolWithTag")->Border;
    ExpForeignFree = LdrFindEntry("ExFreePool")->Border;
    ExpForeignAllocateEx = (PVOID)LdrpAllocateEx;
    ExpForeignFreeEx = (PVOID)LdrpFreeEx;
    IopForeignBusInterface = &LdrpBusInterface;
}

VOID LDR_BORDER Border_ExInitializeNPagedLookasideList(PNPAGED_LOOKASIDE_LIST Lookaside, PALLOCATE_FUNCTION Allocate,
                                                       PFREE_FUNCTION Free, ULONG Flags, SIZE_T Size, ULONG Tag, USHORT Depth)
{
    KI_CALLED_BY_FOREIGN;
    LDR_IRQL_RULE("ExInitializeNPagedLookasideList");
    ExInitializeNPagedLookasideList(Lookaside, Allocate, Free, Flags, Size, Tag, Depth);
    ExpMakeLookasideForeign(Lookaside);
}

VOID LDR_BORDER Border_ExInitializePagedLookasideList(PPAGED_LOOKASIDE_LIST Lookaside, PALLOCATE_FUNCTION Allocate,
                                                      PFREE_FUNCTION Free, ULONG Flags, SIZE_T Size, ULONG Tag, USHORT Depth)
{
    KI_CALLED_BY_FOREIGN;
    LDR_IRQL_RULE("ExInitializePagedLookasideList");
    ExInitializePagedLookasideList(Lookaside, Allocate, Free, Flags, Size, Tag, Depth);
    ExpMakeLookasideForeign(Lookaside);
}

NTSTATUS LDR_BORDER Border_ExInitializeLookasideListEx(PLOOKASIDE_LIST_EX Lookaside, PALLOCATE_FUNCTION_EX Allocate,
                                                       PFREE_FUNCTION_EX Free, POOL_TYPE PoolType, ULONG Flags, SIZE_T Size,
                                                       ULONG Tag, USHORT Depth)
{
    KI_CALLED_BY_FOREIGN;
    LDR_IRQL_RULE("ExInitializeLookasideListEx");
    NTSTATUS Status = ExInitializeLookasideListEx(Lookaside, Allocate, Free, PoolType, Flags, Size, Tag, Depth);
    if (NT_SUCCESS(Status)) {
        ExpMakeLookasideForeign(Lookaside);
    }
    return Status;
}
