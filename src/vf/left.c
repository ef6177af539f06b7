/*
 * left.c - what a driver or a process leaves behind when it goes: timers and DPCs, locked pages, threads. SPDX-License-Identifier: MIT
 *
 *   when a driver binary has been unloaded                            option           stop
 *   an active timer lies in its image                                 any              0xC7/0 (timer, image's start, end)
 *   a queued DPC lies in its image                                    any              0xC7/1 (DPC, ...)
 *   a queued DPC's routine is its code                                any              0xC7/2 (routine, ...)
 *   one of its threads allocates pool now                             pool tracking    0xC4/0x61 (paged, nonpaged bytes, blocks)
 *   pages that its code locked are still locked                       pool tracking    0xCB (record, 0, MDL, pages)
 *   when a process ends: pages of it are still locked                 pool tracking    0xCB instead of 0x76
 *
 * A thread of the driver that still runs (one that has not begun yet is not known) would next run code that is not there. Under pool tracking it gets half a second to end, or
 * to be caught; what it does later is 0xCE or 0xD4.
 *
 * Locked pages are known by their MDL (MmTrackLocksRoutine): who locked it, for which process. Pages locked before the option was on
 * are not known, and are not accused. For a source driver only what was locked while it was loaded counts.
 *
 * LocksLock (leaf) guards the records. IRQL <= DISPATCH_LEVEL; going is PASSIVE_LEVEL.
 */
#include "vf/vfp.h"
#include "mm/mm.h"

#define VI_LOCK_BUCKETS 256u

typedef struct _VI_LOCKED {
    struct _VI_LOCKED *Next;
    PMDL Mdl;
    SIZE_T Pages;
    ULONG_PTR Caller;
    PVOID Process; /* of user memory */
    ULONG64 Number;
} VI_LOCKED;

static KI_LOCK LocksLock;
static VI_LOCKED *ViLocked[VI_LOCK_BUCKETS];
static ULONG64 ViLockNumber;

static VI_LOCKED **ViLockedBucket(PMDL Mdl)
{
    return &ViLocked[((ULONG_PTR)Mdl >> 4) * 0x9E3779B97F4A7C15ull >> 56];
}

/* Pages 0: the MDL was unlocked. */
static VOID ViTrackLocks(PMDL Mdl, SIZE_T Pages, const VOID *Caller)
{
    VI_LOCKED *Record = Pages != 0 ? ExpMetaAllocate(ExpMetaOther, sizeof(VI_LOCKED)) : NULL, *Old, **Link;
    if (Record != NULL)
        *Record = (VI_LOCKED){NULL, Mdl, Pages, ViCallerOf((ULONG_PTR)Caller), Mdl->Process, 0};
    KiAcquireLock(&LocksLock);
    for (Link = ViLockedBucket(Mdl); (Old = *Link) != NULL && Old->Mdl != Mdl;)
        Link = &Old->Next;
    if (Old != NULL)
        *Link = Old->Next;
    if (Record != NULL) {
        Record->Number = ++ViLockNumber;
        Record->Next = *ViLockedBucket(Mdl);
        *ViLockedBucket(Mdl) = Record;
    }
    KiReleaseLock(&LocksLock);
    if (Old != NULL)
        ExpMetaFree(ExpMetaOther, Old, sizeof(VI_LOCKED));
}

ULONG64 ViLocksMade(VOID)
{
    return __atomic_load_n(&ViLockNumber, __ATOMIC_RELAXED);
}

/* A record of the process, or (NULL) of code in [Base, Base + Size), or (no size) of the program's since Number. */
static VI_LOCKED *ViFindLocked(const VOID *Process, ULONG_PTR Base, SIZE_T Size, ULONG64 Number)
{
    VI_LOCKED *Found = NULL;
    KiAcquireLock(&LocksLock);
    for (ULONG Bucket = 0; Bucket < VI_LOCK_BUCKETS && Found == NULL; Bucket++)
        for (VI_LOCKED *Record = ViLocked[Bucket]; Record != NULL && Found == NULL; Record = Record->Next)
            if (Process != NULL ? Record->Process == Process
                : Size != 0     ? Record->Caller - Base < Size
                                : Record->Number > Number && !HalIsSystemAddress(Record->Caller))
                Found = Record;
    KiReleaseLock(&LocksLock);
    return Found;
}

static VOID ViStopLocked(const VI_LOCKED *Record, const CHAR *Words)
{
    /* The MDL itself may be gone: who locked it is what is left. */
    KiStopFor(KiCallBefore(Record->Caller), DRIVER_LEFT_LOCKED_PAGES_IN_PROCESS, Words, (ULONG_PTR)Record, 0,
              (ULONG_PTR)Record->Mdl, Record->Pages);
}

static VOID ViProcessEnds(PVOID Process)
{
    const VI_LOCKED *Record = ViFindLocked(Process, 0, 0, 0);
    if (Record != NULL)
        ViStopLocked(Record, "A process ended while a driver had pages of it locked: an MDL was not unlocked.");
}

VOID ViSetLockTracking(BOOLEAN On)
{
    __atomic_store_n(&MmTrackLocksRoutine, On ? ViTrackLocks : NULL, __ATOMIC_RELEASE);
    __atomic_store_n(&MmLockedAtExitRoutine, On ? ViProcessEnds : NULL, __ATOMIC_RELEASE);
}

VOID ViResetLeft(VOID)
{
    memset(ViLocked, 0, sizeof(ViLocked));
    ViLockNumber = 0;
}

/* ---- a driver goes ---- */
typedef struct _VI_THREADS {
    const VI_DRIVER *Driver;
    BOOLEAN Any;
} VI_THREADS;
static BOOLEAN ViIsItsThread(KTHREAD *Thread, PVOID Context)
{
    VI_THREADS *Threads = Context;
    Threads->Any = Thread->System && (ULONG_PTR)Thread->StartRoutine - Threads->Driver->Base < Threads->Driver->Size;
    return !Threads->Any;
}

VOID ViAwaitThreads(const VI_DRIVER *Driver)
{
    LARGE_INTEGER Some = {.QuadPart = -100000}; /* 10 ms */
    for (ULONG Round = 0;; Round++) {
        VI_THREADS Threads = {Driver, FALSE};
        KiEnumerateThreads(ViIsItsThread, &Threads);
        if ((!Threads.Any || Round == 50) && !KiIsStopping())
            return;
        (VOID) KeDelayExecutionThread(KernelMode, FALSE, &Some);
    }
}

VOID ViCheckLeft(const VI_DRIVER *Driver)
{
    PVOID Found, Base = (PVOID)Driver->Base;
    if (Driver->Size != 0) {
        if ((Found = KiFindTimer(Base, Driver->Size)) != NULL)
            KiStop(0xC7, "A driver was unloaded whose image holds an active timer.", NULL, 0, (ULONG_PTR)Found, Driver->Base,
                   Driver->Base + Driver->Size);
        if ((Found = KiFindDpc(Base, Driver->Size)) != NULL)
            KiStop(0xC7, "A driver was unloaded whose image holds a queued DPC.", NULL, 1, (ULONG_PTR)Found, Driver->Base,
                   Driver->Base + Driver->Size);
        if ((Found = KiFindDpcRoutine(Base, Driver->Size)) != NULL)
            KiStop(0xC7, "A driver was unloaded while a DPC is queued whose routine is its code.", NULL, 2, (ULONG_PTR)Found,
                   Driver->Base, Driver->Base + Driver->Size);
    }
    if (KiVerifierFlags() & VF_POOL_TRACKING) {
        const VI_LOCKED *Record = ViFindLocked(NULL, Driver->Base, Driver->Size, Driver->LocksBefore);
        if (Record != NULL)
            ViStopLocked(Record, "A driver was unloaded that has not unlocked all the pages it locked.");
    }
}
