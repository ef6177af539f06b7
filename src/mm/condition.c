/*
 * condition.c - conditions of memory, and the events that tell drivers of them. SPDX-License-Identifier: MIT
 *
 * The nine standard events of \KernelObjects that speak of memory ("Standard Event Objects"): each is a notification event and
 * stays set as long as its condition holds. Drivers open them with IoCreateNotificationEvent and wait in a thread of their own.
 *
 *   LowMemoryCondition         free RAM (zeroed, free, standby) below 1/128 of RAM, at most 64 MiB
 *   HighMemoryCondition        free RAM above three times that
 *   LowNonPagedPoolCondition   what nonpaged pool can still get (of its region, of commitment, of free RAM) below 1/32 of the most
 *                              it could ever have (its region's size or RAM), at most 16 MiB
 *   HighNonPagedPoolCondition  above three times that
 *   LowPagedPoolCondition      what paged pool can still get (of its region, of commitment): the same
 *   HighPagedPoolCondition     the same
 *   LowCommitCondition         commitment below three quarters of its limit
 *   HighCommitCondition        commitment above nine tenths of its limit
 *   MaximumCommitCondition     commitment above nineteen twentieths of what the limit can become with page files at their maximum
 *
 * The documents give the amounts of the first two (as defaults, on the page of CreateMemoryResourceNotification) and leave the
 * others to the system. A condition that holds is given up only an eighth of its amount (a sixty-fourth of the limit, for
 * commitment) beyond its threshold, so that memory used and freed in turn at the threshold does not set and clear an event all
 * the time.
 *
 * Cost: whoever changes frames, commitment or pool compares four measures with their windows (MiCheckConditions). A window ends
 * where the nearest condition could change, so inside it nothing has to be computed.
 *
 *      breakpoints of a measure     low      low + 1/8              high - 1/8   high
 *                               -----|-----------|----------x------------|--------|------->
 *                                                [ window of x           )
 *
 * One thread at a time sets events (Busy); who finds it busy asks it to look again (Again), so the last look is never older than
 * the last change, and no lock is held while an event is set.
 *
 * Invariants (MiValidateConditions quotes the numbers; at rest):
 *   E1  State is what the measures say, hysteresis apart; low and high of one thing never hold together.
 *   E2  Every event's state is the bit of its condition, unless a driver has set or cleared it.
 *
 * Locks: MI_CONDITIONS.Lock, a leaf. IRQL <= DISPATCH_LEVEL. Watch: MmQueryConditions, `ntmm map --memory`;
 * tests/ddi/memory_events.c.
 */
#include "mm/mi.h"

#define MI_MIB_PAGES ((1ull << 20) >> PAGE_SHIFT)

/* A condition holds while a measure is on one side of Threshold; it is given up Margin beyond. Measures only grow worse in
 * one direction, so every part of a condition is told as "Measure below Threshold" or "Measure above Threshold". */
typedef struct _MI_TEST {
    MI_MEASURE Measure;
    BOOLEAN Above; /* holds above the threshold; else below it */
    ULONG64 Threshold, Margin;
} MI_TEST;

typedef struct _MI_EVALUATION {
    ULONG64 Value[MiMeasures], Low[MiMeasures], High[MiMeasures];
} MI_EVALUATION;

static VOID MiNarrow(MI_EVALUATION *Evaluation, MI_MEASURE Measure, ULONG64 Breakpoint)
{
    if (Breakpoint <= Evaluation->Value[Measure]) {
        Evaluation->Low[Measure] = Breakpoint > Evaluation->Low[Measure] ? Breakpoint : Evaluation->Low[Measure];
    } else {
        Evaluation->High[Measure] = Breakpoint < Evaluation->High[Measure] ? Breakpoint : Evaluation->High[Measure];
    }
}

/* Whether one test holds, given that it held before or not; narrows the window to where that stays so. */
static BOOLEAN MiTest(MI_EVALUATION *Evaluation, const MI_TEST *Test, BOOLEAN Held)
{
    ULONG64 Value = Evaluation->Value[Test->Measure];
    ULONG64 Edge; /* below it one answer, at and above it the other */
    if (Test->Above) {
        Edge = Test->Threshold + 1;
        Edge -= Held ? (Test->Margin < Edge ? Test->Margin : Edge) : 0;
    } else {
        Edge = Test->Threshold + (Held ? Test->Margin : 0);
    }
    MiNarrow(Evaluation, Test->Measure, Edge);
    return (Value >= Edge) == Test->Above;
}

static inline ULONG64 MiLeft(ULONG64 Limit, ULONG64 Threshold)
{
    return Limit > Threshold ? Limit - Threshold : 0;
}

/* Low: any of the room's bounds leaves less than Amount. High: all of them leave more than three times that. */
static ULONG MiTestRoom(MI_EVALUATION *Evaluation, ULONG State, MM_CONDITION LowOne, MM_CONDITION HighOne,
                        const MI_MEASURE *Used, const ULONG64 *Limits, ULONG Count, ULONG64 Amount, BOOLEAN AlsoAvailable)
{
    ULONG64 Margin = Amount / 8 + 1;
    BOOLEAN Low = FALSE, High = TRUE, WasLow = (State >> LowOne) & 1, WasHigh = (State >> HighOne) & 1;
    for (ULONG Index = 0; Index < Count; Index++) {
        MI_TEST ForLow = {Used[Index], TRUE, MiLeft(Limits[Index], Amount), Margin};
        MI_TEST ForHigh = {Used[Index], FALSE, MiLeft(Limits[Index], 3 * Amount), Margin};
        Low |= MiTest(Evaluation, &ForLow, WasLow);
        High &= MiTest(Evaluation, &ForHigh, WasHigh);
    }
    if (AlsoAvailable) {
        MI_TEST ForLow = {MiAvailablePages, FALSE, Amount, Margin};
        MI_TEST ForHigh = {MiAvailablePages, TRUE, 3 * Amount, Margin};
        Low |= MiTest(Evaluation, &ForLow, WasLow);
        High &= MiTest(Evaluation, &ForHigh, WasHigh);
    }
    return (Low ? 1u << LowOne : 0) | (High && !Low ? 1u << HighOne : 0);
}

static ULONG MiEvaluate(MI_EVALUATION *Evaluation, ULONG State)
{
    ULONG64 Ram = MiState->TotalPages, Limit = __atomic_load_n(&MiState->CommitLimit, __ATOMIC_RELAXED);
    ULONG64 Maximum = __atomic_load_n(&MiState->CommitMaximum, __ATOMIC_RELAXED);
    ULONG64 NonPaged = MiState->Regions[MmRegionNonPagedPool].Bits, Paged = MiState->Regions[MmRegionPagedPool].Bits;
    ULONG64 Amount = Ram / 128 < 64 * MI_MIB_PAGES ? Ram / 128 : 64 * MI_MIB_PAGES, Most;
    ULONG Now;
    for (ULONG Measure = 0; Measure < MiMeasures; Measure++) {
        Evaluation->Value[Measure] = MiMeasure((MI_MEASURE)Measure);
        Evaluation->Low[Measure] = 0;
        Evaluation->High[Measure] = ~0ull;
    }
    Now = MiTestRoom(Evaluation, State, MmLowMemory, MmHighMemory, NULL, NULL, 0, Amount, TRUE);

    Most = NonPaged < Ram ? NonPaged : Ram;
    Amount = Most / 32 < 16 * MI_MIB_PAGES ? Most / 32 : 16 * MI_MIB_PAGES;
    Now |= MiTestRoom(Evaluation, State, MmLowNonPagedPool, MmHighNonPagedPool,
                      (const MI_MEASURE[]){MiNonPagedPoolPages, MiCommittedPages}, (const ULONG64[]){NonPaged, Limit}, 2,
                      Amount, TRUE);
    Most = Paged < Limit ? Paged : Limit;
    Amount = Most / 32 < 16 * MI_MIB_PAGES ? Most / 32 : 16 * MI_MIB_PAGES;
    Now |=
        MiTestRoom(Evaluation, State, MmLowPagedPool, MmHighPagedPool, (const MI_MEASURE[]){MiPagedPoolPages, MiCommittedPages},
                   (const ULONG64[]){Paged, Limit}, 2, Amount, FALSE);

    MI_TEST LowCommit = {MiCommittedPages, FALSE, Limit / 4 * 3, Limit / 64};
    MI_TEST HighCommit = {MiCommittedPages, TRUE, Limit / 10 * 9, Limit / 64};
    MI_TEST MaximumCommit = {MiCommittedPages, TRUE, Maximum / 20 * 19, Maximum / 64};
    Now |= MiTest(Evaluation, &LowCommit, (State >> MmLowCommit) & 1) ? 1u << MmLowCommit : 0;
    Now |= MiTest(Evaluation, &HighCommit, (State >> MmHighCommit) & 1) ? 1u << MmHighCommit : 0;
    Now |= MiTest(Evaluation, &MaximumCommit, (State >> MmMaximumCommit) & 1) ? 1u << MmMaximumCommit : 0;
    return Now;
}

VOID MiUpdateConditions(VOID)
{
    MI_CONDITIONS *Conditions = &MiState->Conditions;
    MI_EVALUATION Evaluation;
    PKEVENT Events[MmConditions];
    if (!MiState->Started || KiCurrentThread()->Irql > DISPATCH_LEVEL) {
        return;
    }
    KiAcquireLock(&Conditions->Lock);
    if (Conditions->Busy) {
        Conditions->Again = TRUE;
        KiReleaseLock(&Conditions->Lock);
        return;
    }
    Conditions->Busy = TRUE;
    do {
        Conditions->Again = FALSE;
        ULONG Old = Conditions->State, Now = MiEvaluate(&Evaluation, Old);
        __atomic_store_n(&Conditions->State, Now, __ATOMIC_RELAXED);
        for (ULONG Measure = 0; Measure < MiMeasures; Measure++) {
            __atomic_store_n(&Conditions->Low[Measure], Evaluation.Low[Measure], __ATOMIC_RELAXED);
            __atomic_store_n(&Conditions->High[Measure], Evaluation.High[Measure], __ATOMIC_RELAXED);
        }
        memcpy(Events, Conditions->Events, sizeof(Events));
        KiReleaseLock(&Conditions->Lock);
        for (ULONG Changed = Old ^ Now; Changed; Changed &= Changed - 1) {
            ULONG Which = (ULONG)__builtin_ctz(Changed);
            if (Events[Which] == NULL) {
                continue;
            }
            if ((Now >> Which) & 1) {
                (VOID) KeSetEvent(Events[Which], 0, FALSE);
            } else {
                KeClearEvent(Events[Which]);
            }
        }
        KiAcquireLock(&Conditions->Lock);
    } while (Conditions->Again);
    Conditions->Busy = FALSE;
    KiReleaseLock(&Conditions->Lock);
}

VOID MmSetConditionEvents(const PKEVENT *Events)
{
    MI_CONDITIONS *Conditions = &MiState->Conditions;
    KiAcquireLock(&Conditions->Lock);
    while (Conditions->Busy) { /* somebody is about to set the old ones */
        KiReleaseLock(&Conditions->Lock);
        HalYield();
        KiAcquireLock(&Conditions->Lock);
    }
    memset(Conditions->Events, 0, sizeof(Conditions->Events));
    if (Events) {
        memcpy(Conditions->Events, Events, sizeof(Conditions->Events));
        Conditions->State = 0; /* new events are not signalled */
    }
    KiReleaseLock(&Conditions->Lock);
    MiUpdateConditions();
}

ULONG MmQueryConditions(VOID)
{
    MiCheckConditions();
    return __atomic_load_n(&MiState->Conditions.State, __ATOMIC_RELAXED);
}

const CHAR *MiValidateConditions(VOID)
{
    MI_EVALUATION Evaluation;
    MiCheckConditions();
    ULONG State = __atomic_load_n(&MiState->Conditions.State, __ATOMIC_RELAXED);
    if (MiState->Started && MiEvaluate(&Evaluation, State) != State) {
        return "E1: a condition is not what the measures say";
    }
    for (MM_CONDITION Low = MmLowMemory; Low <= MmLowNonPagedPool; Low += 2) {
        if ((State >> Low & 3) == 3) {
            return "E1: memory is low and high at once";
        }
    }
    return NULL;
}
