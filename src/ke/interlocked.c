/*
 * interlocked.c - lists and numbers guarded by a driver's spin lock. SPDX-License-Identifier: MIT
 *
 * Implements ExInterlockedInsertHeadList, InsertTailList, RemoveHeadList, PopEntryList, PushEntryList, AddLargeInteger, AddUlong,
 * AddLargeStatistic. They work at any IRQL, since on Windows they disable interrupts; here they raise to HIGH_LEVEL, so
 * that a list in pageable memory is found out as it is there. The Interlocked intrinsics are inline (wdm/intrin.h).
 *
 * A list whose links do not fit is a fast fail, KERNEL_SECURITY_CHECK_FAILURE (0x139) with first parameter 3, as on Windows.
 */
#include "ke/kip.h"

/* Fails fast as the inline list routines of wdm/rtl.h do, so that the parameters are the same. */
static VOID KipCheckLinks(BOOLEAN Fit, PLIST_ENTRY ListHead, PLIST_ENTRY Entry, PKSPIN_LOCK Lock, KIRQL OldIrql)
{
    if (__builtin_expect(!Fit, 0)) {
        KiReleaseListLock(Lock, OldIrql);
        FatalListEntryError(ListHead, Entry, NULL);
    }
}

PLIST_ENTRY ExInterlockedInsertHeadList(PLIST_ENTRY ListHead, PLIST_ENTRY ListEntry, PKSPIN_LOCK Lock)
{
    KIRQL OldIrql = KiAcquireListLock(Lock);
    PLIST_ENTRY First;

    KipCheckLinks(ListHead->Flink->Blink == ListHead && ListHead->Blink->Flink == ListHead, ListHead, ListHead->Flink, Lock,
                  OldIrql);
    First = ListHead->Flink;
    ListEntry->Flink = First;
    ListEntry->Blink = ListHead;
    First->Blink = ListEntry;
    ListHead->Flink = ListEntry;
    KiReleaseListLock(Lock, OldIrql);
    return First == ListHead ? NULL : First;
}

PLIST_ENTRY ExInterlockedInsertTailList(PLIST_ENTRY ListHead, PLIST_ENTRY ListEntry, PKSPIN_LOCK Lock)
{
    KIRQL OldIrql = KiAcquireListLock(Lock);
    PLIST_ENTRY Last;

    KipCheckLinks(ListHead->Flink->Blink == ListHead && ListHead->Blink->Flink == ListHead, ListHead, ListHead->Flink, Lock,
                  OldIrql);
    Last = ListHead->Blink;
    ListEntry->Flink = ListHead;
    ListEntry->Blink = Last;
    Last->Flink = ListEntry;
    ListHead->Blink = ListEntry;
    KiReleaseListLock(Lock, OldIrql);
    return Last == ListHead ? NULL : Last;
}

PLIST_ENTRY ExInterlockedRemoveHeadList(PLIST_ENTRY ListHead, PKSPIN_LOCK Lock)
{
    KIRQL OldIrql = KiAcquireListLock(Lock);
    PLIST_ENTRY First = ListHead->Flink;

    if (First != ListHead) {
        KipCheckLinks(First->Blink == ListHead && First->Flink->Blink == First, ListHead, First, Lock, OldIrql);
        ListHead->Flink = First->Flink;
        First->Flink->Blink = ListHead;
    } else {
        First = NULL;
    }
    KiReleaseListLock(Lock, OldIrql);
    return First;
}

PSINGLE_LIST_ENTRY ExInterlockedPopEntryList(PSINGLE_LIST_ENTRY ListHead, PKSPIN_LOCK Lock)
{
    KIRQL OldIrql = KiAcquireListLock(Lock);
    PSINGLE_LIST_ENTRY First = ListHead->Next;

    if (First != NULL) {
        ListHead->Next = First->Next;
    }
    KiReleaseListLock(Lock, OldIrql);
    return First;
}

PSINGLE_LIST_ENTRY ExInterlockedPushEntryList(PSINGLE_LIST_ENTRY ListHead, PSINGLE_LIST_ENTRY ListEntry, PKSPIN_LOCK Lock)
{
    KIRQL OldIrql = KiAcquireListLock(Lock);
    PSINGLE_LIST_ENTRY First = ListHead->Next;

    ListEntry->Next = First;
    ListHead->Next = ListEntry;
    KiReleaseListLock(Lock, OldIrql);
    return First;
}

LARGE_INTEGER ExInterlockedAddLargeInteger(PLARGE_INTEGER Addend, LARGE_INTEGER Increment, PKSPIN_LOCK Lock)
{
    KIRQL OldIrql = KiAcquireListLock(Lock);
    LARGE_INTEGER Old = *Addend;

    Addend->QuadPart = (LONGLONG)((ULONGLONG)Old.QuadPart + (ULONGLONG)Increment.QuadPart);
    KiReleaseListLock(Lock, OldIrql);
    return Old;
}

ULONG ExInterlockedAddUlong(PULONG Addend, ULONG Increment, PKSPIN_LOCK Lock)
{
    KIRQL OldIrql = KiAcquireListLock(Lock);
    ULONG Old = *Addend;

    *Addend = Old + Increment;
    KiReleaseListLock(Lock, OldIrql);
    return Old;
}

VOID ExInterlockedAddLargeStatistic(PLARGE_INTEGER Addend, ULONG Increment)
{
    __atomic_add_fetch(&Addend->QuadPart, (LONGLONG)Increment, __ATOMIC_RELAXED);
}
