/*
 * irqlrules.c - DDI compliance (option 0x00020000): the IRQL of every routine that a verified driver binary calls, against the
 * lowest and the highest that the routine's page allows. SPDX-License-Identifier: MIT
 *
 * The table is irqlrules.def, made by scripts/make-irql-rules from the pages of the routines that drivers can import; only what is
 * documented without a condition is in it. The border (ldr/border.h) asks before each call of an image into this library while the
 * option is on. Source drivers call the routines directly: what those check by themselves, always, is all there is for them.
 *
 *   a routine that a documented rule names      0xC4/the rule's number (0x20002 to 0x20024), text of what was broken
 *   any other                                   0xC4/0xE5, IRQL, highest (lowest) IRQL, name of the routine
 */
#include "vf/vfp.h"

typedef struct _VI_IRQL_RULE {
    const CHAR *Name;
    KIRQL Lowest, Highest;
    ULONG Number;
} VI_IRQL_RULE;
static const VI_IRQL_RULE ViIrqlRules[] = {
#define IRQL_RULE(Name, Lowest, Highest, Number) {#Name, Lowest, Highest, Number},
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

static const VI_IRQL_RULE *ViRuleOf(const CHAR *Name)
{
    ULONG Low = 0, High = ARRAYSIZE(ViIrqlRules);
    while (Low < High) {
        ULONG Middle = (Low + High) / 2;
        LONG Order = ViCompare(Name, ViIrqlRules[Middle].Name);
        if (Order == 0)
            return &ViIrqlRules[Middle];
        if (Order < 0)
            High = Middle;
        else
            Low = Middle + 1;
    }
    return NULL;
}

LONG VfHighestIrql(const CHAR *Name)
{
    const VI_IRQL_RULE *Rule = ViRuleOf(Name);
    return Rule ? Rule->Highest : -1;
}

static const CHAR *ViWordsFor(KIRQL Irql, const VI_IRQL_RULE *Rule)
{
    if (Irql < Rule->Lowest)
        return "A routine that must be called at DISPATCH_LEVEL was called below it.";
    switch (Rule->Highest) {
    case PASSIVE_LEVEL:
        return "A routine that must be called at PASSIVE_LEVEL was called above it.";
    case APC_LEVEL:
        return "A routine that must be called at APC_LEVEL or below was called above it.";
    default:
        return "A routine that must be called at DISPATCH_LEVEL or below was called above it.";
    }
}

VOID VfCheckIrqlRule(const CHAR *Name, ULONG_PTR Caller)
{
    KIRQL Irql = KeGetCurrentIrql();
    const VI_IRQL_RULE *Rule = ViRuleOf(Name);
    if (Rule == NULL || (Irql >= Rule->Lowest && Irql <= Rule->Highest) || !ViDriverOf(Caller)->Verified)
        return;
    const CHAR *Words = ViWordsFor(Irql, Rule);
    if (Rule->Number == 0xE5)
        KiStop(0xC4, Words, NULL, 0xE5, Irql, Irql < Rule->Lowest ? Rule->Lowest : Rule->Highest, (ULONG_PTR)Name);
    KiStop(0xC4, Words, NULL, Rule->Number, (ULONG_PTR)Words, 0, 0);
}
