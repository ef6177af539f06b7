/*
 * irqlrules.c - DDI compliance (option 0x00020000): the IRQL of every routine that a verified driver binary calls, against the
 * highest one that the routine's page allows. SPDX-License-Identifier: MIT
 *
 * The table is irqlrules.def, made by scripts/make-irql-rules from the list of documented routines; only what is documented without a
 * condition is in it. The border (ldr/border.c) asks before each call of an image into this library while the option is on. Source
 * drivers call the routines directly: what those check by themselves, always, is all there is for them.
 *
 *   ExAllocatePool and its family               0xC4/0x20004  IrqlExAllocatePool
 *   the routines of rule IrqlMmApcLte           0xC4/0x20019
 *   MmFreeContiguousMemory                      0xC4/0x2001A  IrqlMmDispatch
 *   any other                                   0xC4/0xE5     IRQL, highest IRQL, name of the routine
 *
 * Parameter 2 of the first three is the text that says what was broken.
 */
#include "vf/vfp.h"

typedef struct _VI_IRQL_RULE {
    const CHAR *Name;
    KIRQL Highest;
} VI_IRQL_RULE;
static const VI_IRQL_RULE ViIrqlRules[] = {
#define IRQL_RULE(Name, Highest) {#Name, Highest},
#include "vf/irqlrules.def"
#undef IRQL_RULE
};

volatile BOOLEAN VfIrqlRulesOn;

static LONG ViCompare(const CHAR *A, const CHAR *B)
{
    while (*A && *A == *B) {
        A++;
        B++;
    }
    return (LONG)(UCHAR)*A - (LONG)(UCHAR)*B;
}

static BOOLEAN ViBegins(const CHAR *Name, const CHAR *With)
{
    while (*With && *Name == *With) {
        Name++;
        With++;
    }
    return *With == 0;
}

static ULONG ViRuleOf(const CHAR *Name)
{
    static const CHAR *const MmApcLte[] = {
        "MmAllocateNonCachedMemory", "MmFreeNonCachedMemory",    "MmAllocatePagesForMdl",        "MmAllocatePagesForMdlEx",
        "MmFreePagesFromMdl",        "MmLockPagableDataSection", "MmLockPagableSectionByHandle", "MmUnlockPagableImageSection",
        "MmPageEntireDriver",        "MmResetDriverPaging",      "MmSecureVirtualMemory",        "MmUnsecureVirtualMemory"};
    if (ViBegins(Name, "ExAllocatePool"))
        return 0x20004;
    if (ViCompare(Name, "MmFreeContiguousMemory") == 0)
        return 0x2001A;
    for (ULONG Index = 0; Index < ARRAYSIZE(MmApcLte); Index++)
        if (ViCompare(Name, MmApcLte[Index]) == 0)
            return 0x20019;
    return 0xE5;
}

LONG VfHighestIrql(const CHAR *Name)
{
    ULONG Low = 0, High = ARRAYSIZE(ViIrqlRules);
    while (Low < High) {
        ULONG Middle = (Low + High) / 2;
        LONG Order = ViCompare(Name, ViIrqlRules[Middle].Name);
        if (Order == 0)
            return ViIrqlRules[Middle].Highest;
        if (Order < 0)
            High = Middle;
        else
            Low = Middle + 1;
    }
    return -1;
}

VOID VfCheckIrqlRule(const CHAR *Name, ULONG_PTR Caller)
{
    KIRQL Irql = KeGetCurrentIrql();
    LONG Highest = Irql == PASSIVE_LEVEL ? -1 : VfHighestIrql(Name);
    if (Highest < 0 || Irql <= Highest || !ViDriverOf(Caller)->Verified)
        return;
    ULONG Rule = ViRuleOf(Name);
    const CHAR *Words = Highest == PASSIVE_LEVEL ? "A routine that must be called at PASSIVE_LEVEL was called above it."
                        : Highest == APC_LEVEL
                            ? "A routine that must be called at APC_LEVEL or below was called above it."
                            : "A routine that must be called at DISPATCH_LEVEL or below was called above it.";
    if (Rule == 0xE5)
        KiStop(0xC4, Words, NULL, 0xE5, Irql, (ULONG_PTR)Highest, (ULONG_PTR)Name);
    KiStop(0xC4, Words, NULL, Rule, (ULONG_PTR)Words, 0, 0);
}
