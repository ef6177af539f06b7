/*
 * ki.h - the kernel layer's private face for the layers above it: the current thread and processor, the internal lock,
 * calls into drivers, exceptions and bug checks. Driver-visible declarations are in include/nt/wdm/ke.h.
 * SPDX-License-Identifier: MIT
 */
#pragma once
#include <ntddk.h>
#include "hal/hal.h"

/* ---- options of the running system: the core's share, filled by the host before KeInitSystem, then constant; only
 * VerifierFlags may change (VfSetFlags), and is read by KiVerifierFlags ---- */
typedef struct _KE_OPTIONS {
    ULONG64 RamBytes;      /* ram= */
    ULONG Processors;      /* cpus=, 1..64 */
    ULONG Nodes;           /* nodes=, 1..16; 0 is 1 */
    ULONG64 NodeBytes[16]; /* node_ram=; all 0: equal parts */
    BOOLEAN TrackPtes;     /* track_ptes= */
    BOOLEAN Iommu;         /* iommu= */
    ULONG64 Seed;          /* seed= */
    ULONG VerifierFlags;   /* verifier= as Windows' mask */
    UCHAR SwapStacks;      /* swap_stacks=: KI_SWAP_STACKS */
    BOOLEAN KeepRuns;      /* keep=: freed runs of pages stay mapped for the next user */
    BOOLEAN BareBlocks;    /* pool_checks=0: slack and freed blocks are neither filled nor checked */
    ULONG StackDepth;      /* stacks=: frames kept for the allocation and the free of each block, 0..16 */
    /* bytes of address space; 0: the default for the RAM */
    ULONG64 NonPagedPoolLimit, PagedPoolLimit, SystemPteLimit, SpecialPoolLimit, ImageLimit, KernelStackLimit;
} KE_OPTIONS;
extern KE_OPTIONS KeOptions;
static inline ULONG KiVerifierFlags(VOID)
{
    return __atomic_load_n(&KeOptions.VerifierFlags, __ATOMIC_RELAXED);
}
/* When kernel stacks of threads that wait in user mode leave RAM (ke/stackswap.c). */
typedef enum _KI_SWAP_STACKS { KiSwapStacksAuto, KiSwapStacksAlways, KiSwapStacksNever } KI_SWAP_STACKS;

/* Whether the code that called is a driver's that is verified with any of Flags; NULL while the system starts and stops (vf/init.c).
 * Caller: the return address of the routine that asks, over the border or not. */
extern BOOLEAN (*KiVerifiesRoutine)(ULONG Flags, ULONG_PTR Caller);
#define KI_ANY_OPTION           (~0u)
#define KI_VERIFY_IRQL          0x00000002u
#define KI_VERIFY_POOL_TRACKING 0x00000008u
#define KI_VERIFY_IO            0x00000010u
#define KI_VERIFY_DMA           0x00000080u
#define KI_VERIFY_SECURITY      0x00000100u
#define KI_VERIFY_MISC          0x00000800u
static inline BOOLEAN KiVerifies(ULONG Flags, const VOID *Caller)
{
    if (__builtin_expect((KiVerifierFlags() & Flags) == 0, 1))
        return FALSE;
    BOOLEAN (*Routine)(ULONG, ULONG_PTR) = __atomic_load_n(&KiVerifiesRoutine, __ATOMIC_ACQUIRE);
    return Routine != NULL && Routine(Flags, (ULONG_PTR)Caller);
}

/* What the Verifier looks at in drivers' calls (vf/security.c); NULL without its options. */
typedef struct _KI_SECURITY_CHECKS {
    VOID(*Service)
    (ULONG_PTR Caller, const OBJECT_ATTRIBUTES *Attributes, const UNICODE_STRING *String, const VOID *const *Addresses,
     ULONG Count);
    VOID (*Routine)(ULONG_PTR Caller, const UNICODE_STRING *String, const VOID *Address, SIZE_T Bytes);
    VOID (*Handle)(ULONG_PTR Caller, HANDLE Handle, ULONG Type); /* Type: 0xF5, 0xF6, 0xF7 */
    VOID (*Irp)(ULONG_PTR Caller, const VOID *Irp, const VOID *Address);
} KI_SECURITY_CHECKS;
extern const KI_SECURITY_CHECKS *KiSecurityChecks;
extern VOID (*KiCheckObjectRoutine)(const VOID *Object, ULONG_PTR Caller);
#define KI_SECURITY(Check, ...)                                                                                                \
    do {                                                                                                                       \
        const KI_SECURITY_CHECKS *Checks_ = __atomic_load_n(&KiSecurityChecks, __ATOMIC_ACQUIRE);                              \
        if (__builtin_expect(Checks_ != NULL, 0))                                                                              \
            Checks_->Check((ULONG_PTR)__builtin_return_address(0), __VA_ARGS__);                                               \
    } while (0)
/* First in a Zw service: its OBJECT_ATTRIBUTES or NULL, its string or NULL, and its other pointers. */
#define KI_CHECK_SERVICE(Attributes, String, ...)                                                                              \
    KI_SECURITY(Service, Attributes, String, ((const VOID *const[]){__VA_ARGS__}),                                             \
                sizeof((const VOID *const[]){__VA_ARGS__}) / sizeof(PVOID))
/* First in a routine that initialises a synchronization object: it must not be pageable. */
#define KI_CHECK_OBJECT(Object)                                                                                                \
    do {                                                                                                                       \
        VOID (*Routine_)(const VOID *, ULONG_PTR) = __atomic_load_n(&KiCheckObjectRoutine, __ATOMIC_ACQUIRE);                  \
        if (__builtin_expect(Routine_ != NULL, 0))                                                                             \
            Routine_(Object, (ULONG_PTR)__builtin_return_address(0));                                                          \
    } while (0)

/* ---- the internal lock: a futex-backed adaptive mutex of four bytes, usable at any IRQL ----
 * Rules: hold briefly; never fault on managed memory, wait, call a driver, raise or bug check while holding one.
 * Zero-initialised is free. */
typedef struct _KI_LOCK {
    volatile LONG Word; /* 0 free, 1 held, 2 held with waiters */
} KI_LOCK, *PKI_LOCK;
VOID KiAcquireLock(PKI_LOCK Lock);
BOOLEAN KiTryAcquireLock(PKI_LOCK Lock);
VOID KiReleaseLock(PKI_LOCK Lock);

/* ---- drivers' objects ---- */
/* One read of a driver's object, so that a bad pointer faults here, with no lock held, and as at DISPATCH_LEVEL (tryread.S). */
VOID KiTouch(const volatile VOID *Object);
extern const UCHAR KiTouchAt[];

/* ---- waiting for a word in driver memory ---- */
/* Sleeping places for waiters of drivers' spin locks: a lock word may be visible at several addresses and may be
 * unmapped when nobody expects it, so the host waits on these words, chosen by the offset in the page, instead. */
typedef struct _KI_PARKING {
    volatile LONG Sequence;
    volatile LONG Waiters;
} KI_PARKING;
#define KI_PARKING_PLACES 512
extern KI_PARKING KiParking[KI_PARKING_PLACES];
static inline KI_PARKING *KiParkingOf(const volatile VOID *Word)
{
    return &KiParking[((ULONG_PTR)Word >> 3) % KI_PARKING_PLACES];
}
/* After a store (sequentially consistent) that may let waiters of Word go. */
static inline VOID KiUnpark(const volatile VOID *Word)
{
    KI_PARKING *Place = KiParkingOf(Word);

    if (__builtin_expect(__atomic_load_n(&Place->Waiters, __ATOMIC_SEQ_CST) != 0, 0)) {
        __atomic_add_fetch(&Place->Sequence, 1, __ATOMIC_SEQ_CST);
        HalWake(&Place->Sequence, MAXLONG);
    }
}

/* ---- processors and threads ---- */
#define KI_MAX_PROCESSORS 64

typedef struct DECLSPEC_CACHEALIGN _KPRCB {
    volatile LONG Owner; /* id of the thread that is at DISPATCH_LEVEL or above here, else 0 */
    ULONG Number;
    struct _KTHREAD *volatile CurrentThread;
    volatile LONG DpcWake; /* futex word of the processor's DPC thread */
    KI_LOCK DpcLock;
    struct _KTHREAD *volatile DpcLockOwner;
    SINGLE_LIST_ENTRY DpcListHead; /* the DPCs queued here; guarded by DpcLock */
    PSINGLE_LIST_ENTRY DpcListTail;
    volatile LONG DpcDepth; /* length of the list */
    BOOLEAN DpcActive;      /* a DPC routine runs: the owner's own */
    struct _KDPC *volatile DpcRunning;
    LONG DpcInserted;          /* queued ever; guarded by DpcLock */
    volatile LONG DpcRetired;  /* run or removed ever; futex word of those who wait for it */
    volatile LONG DpcFlushers; /* how many do */
    ULONG64 DpcCount;          /* run ever */
    PVOID ExPool;              /* the pools' per-processor state */
} KPRCB, *PKPRCB;
extern KPRCB KiProcessors[KI_MAX_PROCESSORS];
extern ULONG KiProcessorCount;

/* What a thread remembers of exceptions (ke/exception.c): dispatches in progress, innermost first; who waits for the
 * __finally block about to run; the codes of the handlers entered, by their functions' frame pointers. */
#define KI_SEH_CODES 8
typedef struct _KI_SEH_STATE {
    struct _KI_DISPATCH *Dispatch;
    PVOID Pending;
    ULONG CodeCount;
    struct {
        ULONG_PTR Function;
        ULONG Code;
    } Codes[KI_SEH_CODES];
} KI_SEH_STATE;
struct _NTMM_SEH_FRAME; /* a try block of source code on the thread's exception chain: wdm/seh.h */
struct _KI_CATCH;       /* an ntmm_catch in progress: ke/bugcheck.c */
struct _KI_PCR;

#define KI_PAGE_PRIORITY 5 /* a thread's, unless it was given another */

typedef struct _KTHREAD {
    DISPATCHER_HEADER Header; /* a thread is waitable: signalled when it ends */
    volatile KIRQL Irql;      /* the thread's IRQL; at DISPATCH_LEVEL and above it owns Prcb */
    BOOLEAN System;           /* made by PsCreateSystemThread, else a host thread that called in */
    KPROCESSOR_MODE PreviousMode;
    BOOLEAN UserRights; /* runs a process's code in user mode (ps/usermode.c); FALSE inside services */
    UCHAR SpinLocksHeld;
    LONG Id;                           /* never 0, unique */
    PKPRCB Prcb;                       /* owned processor, or the one last used */
    struct _KPROCESS *Process;         /* the thread's own process */
    struct _KPROCESS *AttachedProcess; /* whose address space is in use */
    PHAL_ADDRESS_SPACE Space;          /* that address space */
    PVOID KernelStack;                 /* region stack, or NULL for a host thread's own */
    ULONG_PTR StackLow, StackHigh;
    struct _NTMM_SEH_FRAME *SehChain;
    KI_SEH_STATE Seh;
    struct _KI_CATCH *Catch; /* innermost ntmm_catch of this thread */
    LONG CriticalRegion;     /* KeEnterCriticalRegion depth */
    LONG GuardedRegion;
    KPRIORITY Priority;
    UCHAR PagePriority; /* (atomic) standby list that the pages it brings in are for: 1 to 5, the last to go */
    KAFFINITY Affinity;
    /* waits: guarded by the dispatcher lock */
    volatile LONG WaitWord; /* HalWait word: 0 blocked, 1 go */
    LONG_PTR WaitStatus;
    KWAIT_BLOCK WaitBlock[THREAD_WAIT_OBJECTS + 1];
    PKWAIT_BLOCK WaitBlockList;
    KTIMER WaitTimer;
    BOOLEAN Alertable, WaitMode;
    LIST_ENTRY ThreadListEntry; /* all threads */
    LIST_ENTRY MutantListHead;
    PHAL_THREAD HalThread;
    PVOID StartRoutine, StartContext;
    const volatile VOID
        *Callout;  /* what KI_CALLOUT called last: for a stop where no code of a driver is on the stack any more */
    PVOID ExCache; /* the pools' per-thread cache */
    PVOID ExBare;  /* the same where blocks are neither filled nor checked (verifier=none), else NULL */
    PVOID IoState, VfState, PsState;
    ULONG VfStack; /* deadlock detection: the stack of the acquisition that the thread is in; whether its caller is verified */
    UCHAR VfSeen;
    struct _KI_PCR *Pcr; /* what gs shows to binary drivers */
    NTSTATUS ExitStatus;
    HANDLE ThreadId;
    /* more of waits: guarded by the dispatcher lock */
    struct _KTHREAD *WakeNext; /* ready list */
    ULONG WaitCount;           /* blocks in WaitBlockList */
    BOOLEAN Waiting, WaitAborted, MutantOverflow;
    struct _KPRCB *TimerDpc; /* the wait ended by a timer whose DPC was queued there: it goes first */
    SIZE_T KernelStackBytes;
    LARGE_INTEGER CreateTime;
    /* the stack during a wait in user mode (ke/stackswap.c) */
    volatile LONG StackState;   /* KI_STACK_; futex word */
    BOOLEAN StackLocked;        /* by KeSetKernelStackSwapEnable: its own thread's */
    ULONG_PTR StackPointer;     /* all that is live lies at or above it */
    volatile ULONG64 WaitSince; /* HalQueryTime */
    ULONG64 WaitDeadline;       /* what cannot be passed on the stack */
    NTSTATUS SleepStatus;
    const VOID *WaitCaller;           /* return address of the wait */
    volatile LONG Terminating;        /* the thread is on its way out */
    struct _WORK_QUEUE_ITEM ReapItem; /* frees what is left of a system thread */
} KTHREAD;

/* KTHREAD.StackState. */
enum { KiStackIn, KiStackIdle, KiStackLeaving, KiStackOut };
/* Set by mm: takes the pages of a stack whose thread is elsewhere out of RAM (returns how many frames that frees at once), and brings
 * them back (FALSE: not, Parameters are those of bug check 0x77). IRQL <= APC_LEVEL. */
typedef struct _KI_STACK_SWAPPER {
    ULONG64 (*TakeOut)(ULONG_PTR Low, ULONG_PTR StackPointer, ULONG_PTR High);
    BOOLEAN (*BringIn)(ULONG_PTR Low, ULONG_PTR StackPointer, ULONG_PTR High, ULONG_PTR Parameters[4]);
} KI_STACK_SWAPPER;
extern const KI_STACK_SWAPPER *volatile KiStackSwapper;
/* Takes out the stacks of threads that wait in user mode for Age ns or longer; returns the frames that can be had now. PASSIVE_LEVEL,
 * on a thread that is not one of them. */
ULONG64 KiTakeStacksOut(ULONG64 Age);
ULONG KiCountStacksOut(VOID); /* how many are out now */

/* What the Verifier wants of raises (ke/irql.c): KI_WATCH_ bits, 0 without it. Force IRQL checking and the counters go on from now
 * on, or no longer; threads that are at DISPATCH_LEVEL already are not told. */
#define KI_WATCH_DENY  1 /* force IRQL checking */
#define KI_WATCH_COUNT 2
#define KI_WATCH_LOCKS 4 /* deadlock detection */
extern volatile LONG KiIrqlWatch;
/* What locks (spin locks, fast mutexes, KMUTEXes, push locks) tell deadlock detection. */
typedef enum _KI_LOCK_EVENT {
    KiLockWanted,          /* about to be acquired, waiting if need be; may stop */
    KiMutantWanted,        /* the same of a lock that its owner may acquire again */
    KiLockTaken,           /* Thread has it now */
    KiLockReleased,        /* about to be free; its owner releases it */
    KiLockReleasedByOther, /* released by a thread that is not its owner, which follows with a stop of its own */
    KiLockReleasedFree,    /* released while it is free: the same */
    KiLockInitialized,     /* about to be initialised */
    KiLockThreadEnds,      /* Lock: NULL */
    KiLockThreadCaught     /* a caught stop ended whatever the thread was doing. Lock: NULL */
} KI_LOCK_EVENT;
/* What kind of lock the routine that tells is for; with it, whether the lock is shared, and the IRQL that a release lowers to. */
typedef enum _KI_LOCK_KIND {
    KiNoLock,
    KiSpinLock,
    KiQueuedSpinLock,
    KiExSpinLock,
    KiFastMutex,
    KiFastMutexUnsafe, /* the same lock, whose owner's IRQL is not kept in it */
    KiGuardedMutex,
    KiGuardedMutexUnsafe,
    KiKernelMutex,
    KiPushLock,
    KiLockKinds
} KI_LOCK_KIND;
#define KI_LOCK_KIND_MASK    0xFFu
#define KI_LOCK_SHARED       0x100u
#define KI_LOCK_LOWERS(Irql) (((ULONG)(Irql) + 1) << 16)
typedef VOID KI_LOCK_WATCH(KI_LOCK_EVENT Event, ULONG Kind, const volatile VOID *Lock, struct _KTHREAD *Thread);
extern KI_LOCK_WATCH *KiLockWatch;
VOID KiSetLockWatch(KI_LOCK_WATCH *Watch); /* NULL: off */
static inline VOID KiTellLockWatch(KI_LOCK_EVENT Event, ULONG Kind, const volatile VOID *Lock, struct _KTHREAD *Thread)
{
    if (__builtin_expect(__atomic_load_n(&KiIrqlWatch, __ATOMIC_RELAXED) & KI_WATCH_LOCKS, 0)) {
        __atomic_load_n(&KiLockWatch, __ATOMIC_ACQUIRE)(Event, Kind, Lock, Thread);
    }
}
/* Whose raises and locks count: NULL, everybody's. */
extern BOOLEAN (*KiIsWatchedCaller)(VOID);
static inline BOOLEAN KiIsWatched(VOID)
{
    BOOLEAN (*Routine)(VOID) = __atomic_load_n(&KiIsWatchedCaller, __ATOMIC_ACQUIRE);
    return Routine == NULL || Routine();
}
VOID KiSetForceIrqlChecking(BOOLEAN On);
VOID KiCountIrqls(BOOLEAN On);
typedef struct _KI_TRIM_COUNTERS {
    volatile ULONG64 Requests, Trims, Pages; /* raises while it was on; those that found anything; what they took away */
    volatile ULONG64 Raises, SpinLocks;      /* counted: raises of every kind but for a spin lock; spin locks that raised */
} KI_TRIM_COUNTERS;
extern KI_TRIM_COUNTERS KiTrims;
/* The calling thread comes to DISPATCH_LEVEL or above. */
VOID KiWatchedRaise(VOID);
static inline VOID KiCheckedRaise(VOID)
{
    if (__builtin_expect(__atomic_load_n(&KiIrqlWatch, __ATOMIC_RELAXED), 0)) {
        KiWatchedRaise();
    }
}

/* What a dispatcher object is: Header.Type. */
enum {
    EventNotificationObject = 0,
    EventSynchronizationObject = 1,
    MutantObject = 2,
    ProcessObject = 3,
    QueueObject = 4,
    SemaphoreObject = 5,
    ThreadObject = 6,
    GateObject = 7,
    TimerNotificationObject = 8,
    TimerSynchronizationObject = 9,
    DpcObject = 0x13,
    ThreadedDpcObject = 0x18
};

/* What gs:0 shows to binary drivers, per thread. Offsets are the architecture's public ones. */
typedef struct _KI_PCR {
    UCHAR Reserved0[0x20];
    PVOID CurrentPrcb; /* 0x20 */
    UCHAR Reserved1[0x184 - 0x28];
    ULONG Number;        /* 0x184 */
    PVOID CurrentThread; /* 0x188 */
} KI_PCR;
C_ASSERT(offsetof(KI_PCR, Number) == 0x184 && offsetof(KI_PCR, CurrentThread) == 0x188);

/* The current thread; attaches a host thread on its first call (and starts the system if need be). Never NULL. */
KTHREAD *KiAttachCurrentThread(VOID);
static inline KTHREAD *KiCurrentThread(VOID)
{
    KTHREAD *Thread = (KTHREAD *)HalCurrentThread();
    return __builtin_expect(Thread != NULL, 1) ? Thread : KiAttachCurrentThread();
}
/* Set by the host: starts the system from the options on the first kernel call. */
extern VOID (*KiStartRoutine)(VOID);

/* Is the system up (between KeInitSystem and KeShutdownSystem)? */
BOOLEAN KiSystemIsUp(VOID);
/* What the host puts into HAL_UPCALLS. */
VOID KiAttachThreadUpcall(VOID);
VOID KiDetachThreadUpcall(PVOID Thread);
VOID KiClockUpcall(VOID);

/* Threads that have no record of their own are given one from a static table; in front of each lie this many bytes for the
 * object layer's header. */
#define KI_OBJECT_HEADER_BYTES 128
/* The address space of every thread that is not told otherwise (mm's, the System process's); gives it to the threads that have none. */
BOOLEAN KiIsStopping(VOID); /* some thread prints its bug check */
VOID KiSetSystemSpace(PHAL_ADDRESS_SPACE Space);
BOOLEAN KiIsInSystemSpace(const KTHREAD *Thread);
/* The calling thread uses another address space from now on. */
static inline VOID KiSwitchSpace(PHAL_ADDRESS_SPACE Space)
{
    KiCurrentThread()->Space = Space;
    HalActivateAddressSpace(Space);
}
/* HalWait of a thread that does not run meanwhile: it is in no address space, so a thread of another process that touches its user
 * addresses is caught. For waits that may be long. */
static inline BOOLEAN KiBlock(volatile LONG *Word, LONG Expected, ULONG64 Deadline)
{
    KTHREAD *Thread = (KTHREAD *)HalCurrentThread();
    HalActivateAddressSpace(NULL);
    BOOLEAN Woken = HalWait(Word, Expected, Deadline);
    if (Thread) {
        HalActivateAddressSpace(Thread->Space);
    }
    return Woken;
}
/* Set by ps: called on every thread's own stack once it is attached, to make it an object. */
extern VOID (*KiThreadStartRoutine)(KTHREAD *Thread);
/* Set by ex: called on every thread's own stack as the last thing before its record may go: gives its pool cache up. */
extern VOID (*KiThreadRundownRoutine)(KTHREAD *Thread);
/* The process of every thread that is not told otherwise; gives it to the threads that have none. */
VOID KiSetSystemProcess(struct _KPROCESS *Process);
/* Calls Visit for each thread until it returns FALSE. Visit takes no lock. */
VOID KiEnumerateThreads(BOOLEAN (*Visit)(KTHREAD *Thread, PVOID Context), PVOID Context);
/* A thread's life below the object layer: the record's fields; on its own stack as it starts; on its own stack as it ends
 * (signals it; stops the system if it holds a mutex, is in a critical region or above PASSIVE_LEVEL). */
VOID KiInitializeThread(KTHREAD *Thread);
NTSTATUS KiEnterThread(KTHREAD *Thread);
VOID KiLeaveThread(KTHREAD *Thread, NTSTATUS ExitStatus);
/* A thread of the core's own (worker): runs Start(Context) on the given stack, or (NULL) one of the host's. Joining waits
 * for its end and frees the record. */
NTSTATUS KiCreateCoreThread(VOID (*Start)(PVOID), PVOID Context, PVOID StackBase, SIZE_T StackBytes, KTHREAD **Thread);
VOID KiJoinCoreThread(KTHREAD *Thread);

/* Ends another thread's wait: it returns Status, after KiWaitAbortedRoutine (may be NULL) was called in it. */
VOID KiAbortWait(KTHREAD *Thread, NTSTATUS Status);
BOOLEAN KiIsWaiting(KTHREAD *Thread);
extern VOID (*KiWaitAbortedRoutine)(KTHREAD *Thread);
/* For a stop inside this layer's locked parts (a fault on a driver's object): frees what this thread holds of them. */
VOID KiAbandonLocks(VOID);
/* Puts the calling thread back to Irql, whatever it did since: a DPC that was running counts as returned, its processor is kept
 * or given back. For ntmm_catch. */
VOID KiRestoreIrql(KIRQL Irql);
/* A pending timer, a queued DPC inside [Base, Base + Bytes), or NULL: freeing it is bug check 0xC7. */
PKTIMER KiFindTimer(const VOID *Base, SIZE_T Bytes);
/* A pending timer that lies, or whose DPC lies, where Gone says that nothing is any longer (neither is read then; Gone is called under the
 * dispatcher lock), or whose DPC's routine lies in [Base, Base + Bytes); or NULL. */
PKTIMER KiFindLostTimer(const VOID *Base, SIZE_T Bytes, BOOLEAN (*Gone)(const VOID *Address));
PKDPC KiFindDpc(const VOID *Base, SIZE_T Bytes);
PVOID KiFindDpcRoutine(const VOID *Base, SIZE_T Bytes); /* the routine of a queued DPC, if it lies in the range */
/* Signals an object that has no routine of its own for it (a process that ended), for ever. */
VOID KiSignalObject(DISPATCHER_HEADER *Header);
/* How many waits for an object there are. */
ULONG KiCountWaiters(DISPATCHER_HEADER *Header);
/* Validators: NULL, or the first broken invariant. */
const CHAR *KiValidateWaits(VOID);
const CHAR *KiValidateTimers(VOID);
const CHAR *KiValidateDpcs(VOID);

/* Whether what DbgPrintEx says for a component and level is shown (ke/debug.c). */
BOOLEAN KdpPasses(ULONG ComponentId, ULONG Level);

/* The mutant routines that the object layer needs. */
VOID KeInitializeMutant(PRKMUTANT Mutant, BOOLEAN InitialOwner);
LONG KeReleaseMutant(PRKMUTANT Mutant, KPRIORITY Increment, BOOLEAN Abandoned, BOOLEAN Wait);
LONG KeReadStateMutant(PRKMUTANT Mutant);

/* ---- simulated failure (failure.c) ----
 * Asked by each routine that can fail for want of a resource; TRUE: it fails now, as if there were none. Any IRQL. */
typedef enum _KI_RESOURCE {
    KiResourcePool,    /* ExAllocatePool and its family, and what is made of pool (MDLs, IRPs, work items, objects) */
    KiResourceMapping, /* system address space: MmMapLockedPages..., MmMapIoSpace, reserved mappings */
    KiResourceLock,    /* MmProbeAndLockPages and its family */
    KiResourcePages    /* MmAllocatePagesForMdl, contiguous and noncached memory, common buffers */
} KI_RESOURCE;
extern BOOLEAN (*volatile KiFailRoutine)(KI_RESOURCE Resource, ULONG Tag, SIZE_T Bytes);
static inline BOOLEAN KiFailHere(KI_RESOURCE Resource, ULONG Tag, SIZE_T Bytes)
{
    BOOLEAN (*Routine)(KI_RESOURCE, ULONG, SIZE_T) = KiFailRoutine;
    return __builtin_expect(Routine != NULL, 0) && Routine(Resource, Tag, Bytes);
}

NTSTATUS KeInitSystem(VOID); /* processors, the initial thread (the caller); after HalStartMachine. No memory needed. */
/* Defined by ex/work.c: KeInitThreads and KeShutdownSystem start and stop the worker threads through them. */
extern NTSTATUS (*const KiStartWorkersRoutine)(VOID);
extern VOID (*const KiStopWorkersRoutine)(VOID);
NTSTATUS KeInitThreads(VOID); /* clock, DPC threads, worker threads; after MmInitSystem and ExInitSystem */
VOID KeShutdownSystem(VOID);

/* ---- calls into code that drivers supply ----
 * A PE image's code uses the Microsoft calling convention; source drivers use the native one. Code in the kernel's
 * address range, or in the border section of the library that PE code links to, is foreign. */
#define KI_MSABI __attribute__((ms_abi))
extern ULONG_PTR KiBorderStart, KiBorderEnd; /* set by ldr: the ms_abi side of our exports */
static inline BOOLEAN KiIsForeignCode(const volatile VOID *Code)
{
    ULONG_PTR Start = __atomic_load_n(&KiBorderStart, __ATOMIC_RELAXED);
    return HalIsSystemAddress((ULONG_PTR)Code) ||
           (ULONG_PTR)Code - Start < __atomic_load_n(&KiBorderEnd, __ATOMIC_RELAXED) - Start;
}
/* Set by ldr: gives the current thread its KI_PCR, which foreign code reads through gs. */
extern VOID (*KiPrepareForeignRoutine)(VOID);
static inline VOID KiPrepareForeign(VOID)
{
    if (__builtin_expect(KiCurrentThread()->Pcr == NULL, 0)) {
        KiPrepareForeignRoutine();
    }
}
/* Foreign code is not built for the thread sanitizer: how its threads order their accesses is not seen. So that the core is not
 * accused of races on memory that a driver hands over, everything that a thread did before it went (back) to foreign code is
 * taken to happen before everything that any thread does after it came (back) from there. */
#if defined(__SANITIZE_THREAD__)
#define KI_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KI_TSAN 1
#endif
#endif
#ifdef KI_TSAN
VOID __tsan_acquire(PVOID Address);
VOID __tsan_release(PVOID Address);
extern CHAR KiForeignOrder;
static inline VOID KiFromForeign(const CHAR *Unused)
{
    UNREFERENCED_PARAMETER(Unused);
    __tsan_acquire(&KiForeignOrder);
}
static inline VOID KiToForeign(const CHAR *Unused)
{
    UNREFERENCED_PARAMETER(Unused);
    __tsan_release(&KiForeignOrder);
}
/* At the top of a function that foreign code calls. */
#define KI_CALLED_BY_FOREIGN const CHAR KiForeignCall __attribute__((cleanup(KiToForeign), unused)) = (KiFromForeign(NULL), 0)
#define KI_CALL_FOREIGN(Call)                                                                                                  \
    ({                                                                                                                         \
        const CHAR KiForeignCallout __attribute__((cleanup(KiFromForeign), unused)) = (KiToForeign(NULL), 0);                  \
        Call;                                                                                                                  \
    })
#else
#define KI_CALLED_BY_FOREIGN  ((VOID)0)
#define KI_CALL_FOREIGN(Call) (Call)
#endif
/* The memory sanitizer, where the library is built with it, knows which bytes have values by the instrumented code that wrote them. It is
 * told of bytes that count as nobody's yet (their origin is the caller's stack), and of those that somebody writes whom it does not
 * see: assembly, the host's kernel, a device, whoever uses another address of the same memory. Any IRQL, any lock; nothing of the memory
 * itself is touched. */
#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#define KI_MSAN 1
#endif
#endif
#ifdef KI_MSAN
VOID __msan_allocated_memory(const volatile VOID *Address, SIZE_T Bytes);
VOID __msan_unpoison(const volatile VOID *Address, SIZE_T Bytes);
/* Reads what may be nobody's, on purpose. */
#define KI_NO_MSAN                      __attribute__((no_sanitize("memory")))
#define KiMarkUnwritten(Address, Bytes) __msan_allocated_memory((const volatile VOID *)(Address), (Bytes))
#define KiMarkWritten(Address, Bytes)   __msan_unpoison((const volatile VOID *)(Address), (Bytes))
#else
#define KI_NO_MSAN
#define KiMarkUnwritten(Address, Bytes) ((VOID)0)
#define KiMarkWritten(Address, Bytes)   ((VOID)0)
#endif
static inline const volatile VOID *KiNoteCallout(const volatile VOID *Code)
{
    KTHREAD *Thread = (KTHREAD *)HalCurrentThread();
    if (__builtin_expect(Thread != NULL, 1)) {
        Thread->Callout = Code;
    }
    return Code;
}
/* Status = KI_CALLOUT(NTSTATUS, Driver->DriverInit, (PDRIVER_OBJECT, PUNICODE_STRING), (Driver, Path)); */
#define KI_CALLOUT(Ret, Fn, Types, Args)                                                                                       \
    (KiIsForeignCode(KiNoteCallout((const volatile VOID *)(ULONG_PTR)(Fn)))                                                    \
         ? KI_CALL_FOREIGN((KiPrepareForeign(), ((Ret(KI_MSABI *) Types)(ULONG_PTR)(Fn))Args))                                 \
         : ((Ret(*) Types)(ULONG_PTR)(Fn))Args)

/* ---- exceptions and traps (ke/exception.c, ke/trap.c) ---- */
/* mm's answer to a page fault. */
typedef struct _KI_FAULT_ANSWER {
    NTSTATUS Status; /* STATUS_SUCCESS: resume. Otherwise, if StopCode is 0, an exception of this status is raised. */
    ULONG StopCode;  /* bug check to make, with its parameters */
    ULONG_PTR Parameters[4];
    ULONG_PTR Information; /* STATUS_IN_PAGE_ERROR: the underlying status */
} KI_FAULT_ANSWER;
/* Set by MmInitSystem. Called at the faulting thread's IRQL, on its stack; ErrorCode as in hal.h (6). Rip is the
 * faulting instruction, for parameter 4 of 0xA and 0xD1. */
extern VOID (*KiAccessFaultRoutine)(ULONG_PTR Address, ULONG ErrorCode, KIRQL Irql, ULONG_PTR Rip, KI_FAULT_ANSWER *Answer);
/* Set by the host layer: whether Rip is a driver's code (a program's own, or an image's), not this library's: mm tells 0xD1 from
 * 0x0A by it. Until it is set all code outside is taken for a driver's. Defined in mm/fault.c. */
extern BOOLEAN (*KiIsDriverCodeRoutine)(ULONG_PTR Rip);
/* Set by ldr: privileged instructions of PE code; TRUE if emulated (frame edited). */
extern BOOLEAN (*KiEmulateRoutine)(HAL_TRAP_FRAME *Frame);
/* Reads eight bytes that may not be there: FALSE, where the fault cannot be satisfied (ke/tryread.S). Any IRQL. */
BOOLEAN KiTryRead(const volatile ULONG64 *From, ULONG64 *Value);
extern const UCHAR KiTryReadAt[], KiTryReadFailed[];
VOID KiPageFaultUpcall(HAL_TRAP_FRAME *Frame);
VOID KiTrapUpcall(HAL_TRAP_FRAME *Frame);

/* Raises Status with parameters, at the caller. */
DECLSPEC_NORETURN VOID KiRaiseStatus(NTSTATUS Status, ULONG ParameterCount, const ULONG_PTR *Parameters);
/* Finds the handler of an exception at Context and goes there; returns if a filter continues the execution (Context may
 * then be edited); bug checks if there is none. */
VOID KiDispatchException(EXCEPTION_RECORD *Record, CONTEXT *Context);
/* A point of execution to come back to (ke/context.S). */
typedef struct _KI_JUMP {
    ULONG_PTR Rbx, Rbp, R12, R13, R14, R15, Rsp, Rip;
} KI_JUMP;
/* Set by the host if a sanitizer watches the stack: the calling thread's stack from here up to Stack is given up. */
extern VOID (*KiAbandonStackRoutine)(ULONG_PTR Stack);
/* Set by the host if a sanitizer keeps a call stack of its own: notes how deep it is at the caller's caller; and makes it that
 * deep again, on the way to Go(Argument), which does not return. Mark has room for 32 pointers. */
extern VOID (*KiMarkStackRoutine)(PVOID *Mark);
extern VOID (*KiReturnToMarkRoutine)(PVOID *Mark, VOID (*Go)(PVOID), PVOID Argument);
#if defined(__clang__)
#define KI_NO_TSAN __attribute__((no_sanitize("thread"), disable_sanitizer_instrumentation))
#else
#define KI_NO_TSAN __attribute__((no_sanitize("thread")))
#endif
/* Set by the host: the compiler's landing pad for an instruction of ELF code, or 0. */
extern ULONG_PTR (*KiLandingPadRoutine)(ULONG_PTR Rip);
/* Set by ldr once an image with exception handlers is loaded: handlers of PE frames take part in the dispatch. */
typedef struct _KI_FOREIGN_FRAME {
    ULONG_PTR Establisher; /* stack address by which PE and source frames are ordered */
    CONTEXT Before;        /* registers in the function, as its unwind information wants them */
    PVOID Private[8];
} KI_FOREIGN_FRAME;
typedef struct _KI_FOREIGN_DISPATCH {
    /* Steps Walk outward to the next PE function with a handler of the kind wanted (Unwind: termination); FALSE: none. */
    BOOLEAN (*Next)(CONTEXT *Walk, BOOLEAN Unwind, KI_FOREIGN_FRAME *Frame);
    /* Asks the frame's handler. >0: handle it here (never for Unwind), 0 search on, <0 continue the execution. */
    LONG (*Call)(KI_FOREIGN_FRAME *Frame, EXCEPTION_RECORD *Record, CONTEXT *Context, BOOLEAN Unwind, BOOLEAN Target);
    /* Enters the handler that Call chose. */
    VOID (*Enter)(KI_FOREIGN_FRAME *Frame, EXCEPTION_RECORD *Record) __attribute__((noreturn));
    /* The calling thread's stack below Stack is given up. */
    VOID (*Forget)(ULONG_PTR Stack);
} KI_FOREIGN_DISPATCH;
extern const KI_FOREIGN_DISPATCH *KiForeignDispatch;
/* Runs the termination handlers of every frame inside a stack address that is being unwound to; then forgets them. */
VOID KiUnwindStack(ULONG_PTR Stack, EXCEPTION_RECORD *Record, CONTEXT *Context);
VOID KiForgetStack(ULONG_PTR Stack);
/* Forgets the catches whose frames are below a stack address that is being unwound to. */
VOID KiUnwindCatches(ULONG_PTR Stack);
VOID KiHalContextOf(const CONTEXT *From, HAL_CONTEXT *To);
LONG KiSehCall(KI_JUMP *Save, PVOID Rbp, PVOID Rip, PVOID Rsp);
LONG KiSehLand(KI_JUMP *Save, const CONTEXT *Context, ULONG_PTR Rip);
DECLSPEC_NORETURN VOID KiSehGo(PVOID Rbp, PVOID Rip, PVOID Rsp);
DECLSPEC_NORETURN VOID KiSehGoLow(PVOID Rbp, PVOID Rip, PVOID Rsp);
VOID KiCaptureVector(CONTEXT *Context); /* x87, xmm and mxcsr as they are */
DECLSPEC_NORETURN VOID KiRestoreContext(const CONTEXT *Context);
LONG KiSaveJump(KI_JUMP *Jump) __attribute__((returns_twice));
DECLSPEC_NORETURN VOID KiRestoreJump(const KI_JUMP *Jump, LONG Value);

/* ---- bug checks (ke/bugcheck.c) ---- */
#define KI_STOP_FRAMES   48
#define KI_STOP_POINTERS 14 /* rax rbx rdx rsi rdi rbp r8 to r15 */
typedef struct _KI_BUGCHECK {
    ULONG Code;
    ULONG_PTR Parameters[4];
    const CHAR *Words;          /* one sentence: what the code did wrong; NULL: the general text of the code */
    const VOID *Block;          /* the pool block concerned, or NULL */
    const VOID *Suspect;        /* another block, an overrun of which may have done it, or NULL */
    const HAL_CONTEXT *Context; /* where it happened, or NULL: here */
    const VOID *Driver;         /* code address to blame; NULL: the first frame outside the library */
    ULONG_PTR EvidenceAt;       /* where the bytes of Evidence were, before they were mended */
    ULONG EvidenceBytes;
    UCHAR Evidence[32];
    ULONG_PTR Pointers[KI_STOP_POINTERS]; /* a fast fail: the list entries compared, or the registers' contents */
    BOOLEAN Registers;
    BOOLEAN Access; /* an access violation that nobody handled: how (EXCEPTION_READ_FAULT ...), and where */
    ULONG_PTR AccessKind, AccessAddress;
    ULONG_PTR StackBytes; /* of the kernel stack that is used up, or 0 */
    KIRQL Irql;           /* filled by KiBugCheck, like all that follows */
    ULONG Processor;
    KTHREAD *Thread;
    const volatile VOID *Callout; /* KTHREAD.Callout */
    BOOLEAN Trapped;              /* Context was given: Frames[0] is an instruction, not a return address */
    ULONG FrameCount;             /* the call stack, innermost first */
    ULONG_PTR Frames[KI_STOP_FRAMES];
} KI_BUGCHECK;
/* Stops the system: callbacks, the block on the console (through the reporter), then HalHalt - or, inside
 * ntmm_catch, hands the stop to the catcher. */
DECLSPEC_NORETURN VOID KiBugCheck(KI_BUGCHECK *Stop);
DECLSPEC_NORETURN VOID KiFailTrap(HAL_TRAP_FRAME *Frame); /* int 29h (failfast.c) */
VOID KiContextOfTrap(const HAL_TRAP_FRAME *Frame, HAL_CONTEXT *Context);
DECLSPEC_NORETURN VOID KiStop(ULONG Code, const CHAR *Words, const VOID *Block, ULONG_PTR P1, ULONG_PTR P2, ULONG_PTR P3,
                              ULONG_PTR P4);
/* Driver: code address to blame, whose frame is gone. */
DECLSPEC_NORETURN VOID KiStopFor(const VOID *Driver, ULONG Code, const CHAR *Words, ULONG_PTR P1, ULONG_PTR P2, ULONG_PTR P3,
                                 ULONG_PTR P4);
/* An address to blame in the call that returns to ReturnAddress, where the next line may begin, or the next function. */
static inline const VOID *KiCallBefore(ULONG_PTR ReturnAddress)
{
    return (const VOID *)(ReturnAddress - 1);
}
/* "BAD_POOL_CALLER" for 0xC2; NULL for a code without a name (ke/bugname.c). */
const CHAR *KiBugCheckName(ULONG Code);
const CHAR *KiBugCheckAt(ULONG Index, ULONG *Code); /* the codes that have names, in order; NULL: no more */
/* Set by the host layer: prints the block. NULL: ke prints the first two lines itself. */
extern VOID (*KiReportRoutine)(const KI_BUGCHECK *Stop);

/* ntmm_catch: runs Function; TRUE if it returned, FALSE if the system stopped meanwhile, the stop then in *Stop. The
 * thread's IRQL, processor, exception chain and critical regions are put back to what they were. */
BOOLEAN KiCatch(VOID (*Function)(PVOID), PVOID Argument, KI_BUGCHECK *Stop);
