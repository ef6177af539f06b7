/*
 * queue.c - kernel queues: entries, and threads that wait to take them. SPDX-License-Identifier: MIT
 *
 * Implements KeInitializeQueue, KeInsertQueue, KeInsertHeadQueue, KeRemoveQueue(Ex), KeReadStateQueue, KeRundownQueue. On Windows a queue also
 * keeps the number of running threads near its limit; here the host schedules and the limit is only kept
 * (docs/CAVEATS.md).
 *
 *      SignalState: entries that no satisfied wait has a claim to; a wait takes one (wait.c) and its thread then takes
 *      the first entry of EntryListHead, of which there is one for it
 *
 * Invariants
 *  Y1. The length of EntryListHead is SignalState plus the number of threads on their way from a satisfied wait.
 *  Y2. Entries, which lie in drivers' resident memory, are linked under the dispatcher lock.
 */
#include "ke/kip.h"

VOID KeInitializeQueue(PRKQUEUE Queue, ULONG Count)
{
    memset((VOID *)Queue, 0, sizeof *Queue);
    Queue->Header.Type = QueueObject;
    Queue->Header.Size = sizeof *Queue / sizeof(LONG);
    Queue->Header.WaitListHead.Flink = Queue->Header.WaitListHead.Blink = &Queue->Header.WaitListHead;
    Queue->EntryListHead.Flink = Queue->EntryListHead.Blink = &Queue->EntryListHead;
    Queue->ThreadListHead.Flink = Queue->ThreadListHead.Blink = &Queue->ThreadListHead;
    Queue->MaximumCount = Count != 0 ? Count : KiProcessorCount;
}

static LONG KipInsertEntry(PRKQUEUE Queue, PLIST_ENTRY Entry, BOOLEAN Head)
{
    PLIST_ENTRY Before;
    LONG Old;

    KiTouch(Queue);
    KiTouch(Entry);
    KiLockDispatcher();
    Old = KiState(&Queue->Header);
    Before = Head ? &Queue->EntryListHead : Queue->EntryListHead.Blink;
    Entry->Flink = Before->Flink;
    Entry->Blink = Before;
    Before->Flink->Blink = Entry;
    Before->Flink = Entry;
    KiSetState(&Queue->Header, Old + 1);
    KiTestWaiters(&Queue->Header);
    KiUnlockDispatcher();
    return Old;
}

LONG KeInsertQueue(PRKQUEUE Queue, PLIST_ENTRY Entry)
{
    return KipInsertEntry(Queue, Entry, FALSE);
}

LONG KeInsertHeadQueue(PRKQUEUE Queue, PLIST_ENTRY Entry)
{
    return KipInsertEntry(Queue, Entry, TRUE);
}

static PLIST_ENTRY KipTakeEntry(PRKQUEUE Queue)
{
    PLIST_ENTRY Entry = Queue->EntryListHead.Flink;

    if (Entry == &Queue->EntryListHead) {
        return NULL;
    }
    Queue->EntryListHead.Flink = Entry->Flink;
    Entry->Flink->Blink = &Queue->EntryListHead;
    Entry->Flink = NULL;
    return Entry;
}

ULONG KeRemoveQueueEx(PKQUEUE Queue, KPROCESSOR_MODE WaitMode, BOOLEAN Alertable, PLARGE_INTEGER Timeout,
                      PLIST_ENTRY *EntryArray, ULONG Count)
{
    NTSTATUS Status = KeWaitForSingleObject(Queue, WrQueue, WaitMode, Alertable, Timeout);
    ULONG Taken = 0;

    if (Status != STATUS_SUCCESS) {
        EntryArray[0] = (PLIST_ENTRY)(LONG_PTR)Status;
        return 1;
    }
    KiLockDispatcher();
    EntryArray[0] = KipTakeEntry(Queue);
    if (EntryArray[0] == NULL) {
        EntryArray[0] = (PLIST_ENTRY)(LONG_PTR)STATUS_ABANDONED; /* run down meanwhile */
    }
    for (Taken = 1; Taken < Count && KiState(&Queue->Header) > 0; Taken += 1) {
        EntryArray[Taken] = KipTakeEntry(Queue);
        KiSetState(&Queue->Header, KiState(&Queue->Header) - 1);
    }
    KiUnlockDispatcher();
    return Taken;
}

PLIST_ENTRY KeRemoveQueue(PRKQUEUE Queue, KPROCESSOR_MODE WaitMode, PLARGE_INTEGER Timeout)
{
    PLIST_ENTRY Entry;

    KeRemoveQueueEx(Queue, WaitMode, FALSE, Timeout, &Entry, 1);
    return Entry;
}

LONG KeReadStateQueue(PRKQUEUE Queue)
{
    return KiState(&Queue->Header);
}

PLIST_ENTRY KeRundownQueue(PRKQUEUE Queue)
{
    PLIST_ENTRY First;

    KiTouch(Queue);
    KiLockDispatcher();
    First = Queue->EntryListHead.Flink;
    if (First == &Queue->EntryListHead) {
        First = NULL;
    } else {
        /* The entries stay linked to each other, without the head. */
        First->Blink = Queue->EntryListHead.Blink;
        First->Blink->Flink = First;
        Queue->EntryListHead.Flink = Queue->EntryListHead.Blink = &Queue->EntryListHead;
    }
    KiSetState(&Queue->Header, 0);
    KiUnlockDispatcher();
    return First;
}
