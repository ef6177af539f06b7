/*
 * deadlock.c - deadlock detection (0x20): the order in which locks are taken, and locks used wrongly. SPDX-License-Identifier: MIT
 *
 * Spin locks (plain, in-stack queued, shared/exclusive), fast, guarded and kernel mutexes and push locks tell this file what happens to
 * them while the option is on (KiTellLockWatch). Each lock that was taken is a node; an edge A -> B says that some thread has acquired B
 * while it held A. An acquisition that would close a circle is a lock order violation, whether or not anybody ever deadlocks:
 *
 *      thread 1:  A, then B       A ---> B       thread 2 (or 1, later):  B, then A  ==>  B is held, and A leads to B: stop
 *
 *   0xC4/0x1000 (lock)                  acquired by the thread that holds it (a KMUTEX may be; shared, if held shared)
 *   0xC4/0x1001 (lock)                  acquired against the order
 *   0xC4/0x1002 (lock)                  acquired without having been initialised: its bytes are those of no such lock
 *   0xC4/0x1003 (lock, other)           released before one acquired after it, to an IRQL at which that one cannot be held
 *   0xC4/0x1004 (lock, owner, thread)   released by another thread than its owner
 *   0xC4/0x1005 (lock)                  initialised while it is held
 *   0xC4/0x1007 (lock)                  released while nobody holds it
 *   0xC4/0x1008 (lock)                  acquired with a routine for another kind of lock than before
 *   0xC4/0x1009 (lock)                  released with one for another kind than it was acquired with
 *   0xC4/0x100A (thread, lock)          a system thread ends holding it
 *   0xC4/0x100B (lock, owner)           pool freed that holds a held lock
 *
 * The stop is made before the acquisition waits. The report shows each order of the circle with the stacks that acquired the lock that
 * was held and the one that was wanted (VfReadLockOrder). Attempts (KeTryTo..., waits with a time-out or for several objects) cannot
 * deadlock: nothing leads to their locks, but they lead to what is acquired under them. ERESOURCEs are not watched, as documented.
 * Where the Verifier is on for some drivers only, acquisitions by others are not seen.
 *
 * What is known of a lock is forgotten when it is initialised, its pool block freed or its driver unloaded. A lock on a thread's stack is
 * forgotten when nobody holds it any more: the next one at that address is another.
 *
 *   KTHREAD.VfState --> VI_HOLD --> VI_HOLD      what the thread holds, the newest first; a shared lock has a hold for each thread
 *                          |  Lock                 VI_HOLD.OfLock: the lock's other holders
 *                          v
 *   bucket of the page --> VI_LOCK --> ...       Edges --> VI_EDGE { To, stacks, thread }
 *
 * Memory is bounded: VI_LOCKS nodes, VI_HOLDS holds, VI_EDGES edges. When they run out, what is not held (all edges) is forgotten.
 *
 * Invariants
 *  D1. The edges make no circle.
 *  D2. Each hold of a lock is in its thread's list once, and the other way round.
 *  D3. An edge whose Generation is not its target's is dead; it is unlinked when it is next passed.
 *
 * WatchLock (leaf; also under the dispatcher lock) guards everything; it is never held while stopping. Any IRQL.
 */
#include "vf/vfp.h"

#define VI_LOCKS   4096u
#define VI_HOLDS   4096u
#define VI_EDGES   16384u
#define VI_BUCKETS 1024u

typedef struct _VI_HOLD {
    struct _VI_LOCK *Lock;
    KTHREAD *Thread;
    struct _VI_HOLD *Next, *OfLock; /* Next: the thread's next older one, or of the free list */
    ULONG Kind, Stack;
} VI_HOLD;
typedef struct _VI_LOCK {
    const volatile VOID *Address;
    VI_HOLD *Holds;
    struct _VI_LOCK *HashNext;      /* of its bucket, or of the free list */
    struct _VI_LOCK *Todo, *Parent; /* a search's */
    ULONG ParentEdge;
    ULONG Generation, Search, Edges; /* Edges: index + 1 of the first, 0: none */
    UCHAR Kind;                      /* of the first acquisition */
    BOOLEAN OnStack;
} VI_LOCK;
typedef struct _VI_EDGE {
    VI_LOCK *To;
    ULONG Generation, Next;
    ULONG HeldStack, WantedStack, Thread;
} VI_EDGE;
typedef struct _VI_STEP {
    const volatile VOID *Held, *Wanted;
    ULONG HeldStack, WantedStack, Thread;
} VI_STEP;

static KI_LOCK WatchLock;
static BOOLEAN ViOn;
static VI_LOCK ViLocks[VI_LOCKS], *ViBuckets[VI_BUCKETS], *ViFreeLocks;
static VI_HOLD ViHolds[VI_HOLDS], *ViFreeHolds;
static VI_EDGE ViEdges[VI_EDGES];
static ULONG ViLocksUsed, ViHoldsUsed, ViFreeEdge, ViEdgesUsed, ViSearch; /* Used: ever handed out since the last reset */
static VI_STEP ViSteps[VF_LOCK_STEPS];                                    /* of the last stop */
static ULONG ViStepCount;

/* Two kinds are one lock's if their families are. Needs: the IRQL below which such a lock cannot be held. */
static const struct {
    UCHAR Family, Needs;
} ViKinds[KiLockKinds] = {
    [KiSpinLock] = {KiSpinLock, DISPATCH_LEVEL},
    [KiQueuedSpinLock] = {KiQueuedSpinLock, DISPATCH_LEVEL},
    [KiExSpinLock] = {KiExSpinLock, DISPATCH_LEVEL},
    [KiFastMutex] = {KiFastMutex, APC_LEVEL},
    [KiFastMutexUnsafe] = {KiFastMutex, 0},
    [KiGuardedMutex] = {KiGuardedMutex, 0},
    [KiGuardedMutexUnsafe] = {KiGuardedMutex, 0},
    [KiKernelMutex] = {KiKernelMutex, 0},
    [KiPushLock] = {KiPushLock, 0},
};
#define KIND_OF(Kind) ((Kind)&KI_LOCK_KIND_MASK)

/* ---- nodes and edges: WatchLock is held ---- */

static VI_LOCK **ViBucketOfPage(ULONG_PTR Page)
{
    return &ViBuckets[(Page * 0x9E3779B97F4A7C15ull) >> 54];
}

static VI_LOCK *ViFindLock(const volatile VOID *Address)
{
    VI_LOCK *Lock = *ViBucketOfPage((ULONG_PTR)Address >> PAGE_SHIFT);
    while (Lock != NULL && Lock->Address != Address)
        Lock = Lock->HashNext;
    return Lock;
}

static VOID ViFreeEdges(VI_LOCK *Lock)
{
    while (Lock->Edges != 0) {
        VI_EDGE *Edge = &ViEdges[Lock->Edges - 1];
        ULONG Next = Edge->Next;
        Edge->Next = ViFreeEdge;
        ViFreeEdge = Lock->Edges;
        Lock->Edges = Next;
    }
}

static VOID ViUnhold(VI_HOLD *Hold)
{
    KTHREAD *Thread = Hold->Thread;
    VI_HOLD **Link, *Before = Thread != NULL ? Thread->VfState : NULL;
    if (Thread != NULL && Before == Hold)
        Thread->VfState = Hold->Next;
    while (Before != NULL && Before->Next != Hold)
        Before = Before->Next;
    if (Before != NULL)
        Before->Next = Hold->Next;
    for (Link = &Hold->Lock->Holds; *Link != NULL && *Link != Hold;)
        Link = &(*Link)->OfLock;
    if (*Link != NULL)
        *Link = Hold->OfLock;
    Hold->Thread = NULL;
    Hold->Next = ViFreeHolds;
    ViFreeHolds = Hold;
}

static VI_HOLD *ViHoldOf(const VI_LOCK *Lock, const KTHREAD *Thread)
{
    VI_HOLD *Hold = Lock->Holds;
    while (Hold != NULL && Hold->Thread != Thread)
        Hold = Hold->OfLock;
    return Hold;
}

static VOID ViForgetLock(VI_LOCK *Lock)
{
    VI_LOCK **Link = ViBucketOfPage((ULONG_PTR)Lock->Address >> PAGE_SHIFT);
    while (Lock->Holds != NULL)
        ViUnhold(Lock->Holds);
    ViFreeEdges(Lock);
    while (*Link != Lock)
        Link = &(*Link)->HashNext;
    *Link = Lock->HashNext;
    Lock->Generation++;
    Lock->Address = NULL;
    Lock->HashNext = ViFreeLocks;
    ViFreeLocks = Lock;
}

static BOOLEAN ViIsOnStack(const volatile VOID *Lock, const KTHREAD *Thread)
{
    return ((ULONG_PTR)Lock >= Thread->StackLow && (ULONG_PTR)Lock < Thread->StackHigh) ||
           MmRegionOf((const VOID *)Lock) == MmRegionKernelStacks;
}

static VI_LOCK *ViGetLock(const volatile VOID *Address, ULONG Kind, const KTHREAD *Thread)
{
    VI_LOCK *Lock = ViFindLock(Address), **Bucket;
    if (Lock != NULL)
        return Lock;
    if (ViFreeLocks == NULL && ViLocksUsed == VI_LOCKS)
        for (ULONG Index = 0; Index < VI_LOCKS; Index++)
            if (ViLocks[Index].Address != NULL && ViLocks[Index].Holds == NULL)
                ViForgetLock(&ViLocks[Index]);
    if ((Lock = ViFreeLocks) != NULL)
        ViFreeLocks = Lock->HashNext;
    else if (ViLocksUsed < VI_LOCKS)
        Lock = &ViLocks[ViLocksUsed++];
    else
        return NULL;
    Bucket = ViBucketOfPage((ULONG_PTR)Address >> PAGE_SHIFT);
    Lock->Address = Address;
    Lock->Kind = (UCHAR)KIND_OF(Kind);
    Lock->OnStack = ViIsOnStack(Address, Thread);
    Lock->HashNext = *Bucket;
    *Bucket = Lock;
    return Lock;
}

/* The next living edge at *Link, or NULL. */
static VI_EDGE *ViEdgeAt(ULONG *Link)
{
    while (*Link != 0) {
        VI_EDGE *Edge = &ViEdges[*Link - 1];
        ULONG Index = *Link;
        if (Edge->Generation == Edge->To->Generation)
            return Edge;
        *Link = Edge->Next;
        Edge->Next = ViFreeEdge;
        ViFreeEdge = Index;
    }
    return NULL;
}

static BOOLEAN ViHasEdge(VI_LOCK *From, const VI_LOCK *To)
{
    VI_EDGE *Edge;
    for (ULONG *Link = &From->Edges; (Edge = ViEdgeAt(Link)) != NULL; Link = &Edge->Next)
        if (Edge->To == To)
            return TRUE;
    return FALSE;
}

static VOID ViAddEdge(const VI_HOLD *Held, VI_LOCK *To)
{
    VI_LOCK *From = Held->Lock;
    ULONG Index;
    if (ViFreeEdge == 0 && ViEdgesUsed == VI_EDGES)
        for (ULONG Each = 0; Each < ViLocksUsed; Each++)
            ViFreeEdges(&ViLocks[Each]);
    if ((Index = ViFreeEdge) != 0)
        ViFreeEdge = ViEdges[Index - 1].Next;
    else
        Index = ++ViEdgesUsed;
    ViEdges[Index - 1] = (VI_EDGE){.To = To,
                                   .Generation = To->Generation,
                                   .Next = From->Edges,
                                   .HeldStack = Held->Stack,
                                   .WantedStack = Held->Thread->VfStack,
                                   .Thread = (ULONG)(ULONG_PTR)Held->Thread->ThreadId};
    From->Edges = Index;
}

/* Do edges lead from From to To? Parents then lead back. Each node is visited once; the list of those to do is in the nodes. */
static BOOLEAN ViLeads(VI_LOCK *From, const VI_LOCK *To)
{
    VI_LOCK *Todo = From;
    ViSearch++;
    From->Search = ViSearch;
    From->Parent = From->Todo = NULL;
    while (Todo != NULL) {
        VI_LOCK *Lock = Todo;
        VI_EDGE *Edge;
        Todo = Lock->Todo;
        for (ULONG *Link = &Lock->Edges; (Edge = ViEdgeAt(Link)) != NULL; Link = &Edge->Next) {
            if (Edge->To->Search == ViSearch)
                continue;
            Edge->To->Search = ViSearch;
            Edge->To->Parent = Lock;
            Edge->To->ParentEdge = *Link;
            if (Edge->To == To)
                return TRUE;
            Edge->To->Todo = Todo;
            Todo = Edge->To;
        }
    }
    return FALSE;
}

/* ---- what a stop is about: WatchLock is held ---- */

static VOID ViAddStep(const VI_STEP *Step)
{
    if (ViStepCount < VF_LOCK_STEPS)
        ViSteps[ViStepCount++] = *Step;
}

static VOID ViStepOfHold(const VI_HOLD *Hold, const volatile VOID *Wanted)
{
    ViAddStep(&(VI_STEP){.Held = Hold->Lock->Address,
                         .Wanted = Wanted,
                         .HeldStack = Hold->Stack,
                         .WantedStack = Wanted != NULL ? Hold->Thread->VfStack : 0,
                         .Thread = (ULONG)(ULONG_PTR)Hold->Thread->ThreadId});
}

/* The circle that Wanted would close: this thread's step, then those that lead from Wanted to what it holds, the first one first. */
static VOID ViStepsOfCircle(const VI_HOLD *Held, VI_LOCK *Wanted)
{
    VI_LOCK *Next = NULL;
    ViStepOfHold(Held, Wanted->Address);
    for (VI_LOCK *Each = Held->Lock, *Parent; Each != NULL; Each = Parent) { /* turn the way round */
        Parent = Each->Parent;
        Each->Todo = Next;
        Next = Each;
    }
    for (VI_LOCK *Each = Wanted; Each->Todo != NULL; Each = Each->Todo) {
        const VI_EDGE *Edge = &ViEdges[Each->Todo->ParentEdge - 1];
        ViAddStep(&(VI_STEP){.Held = Each->Address,
                             .Wanted = Each->Todo->Address,
                             .HeldStack = Edge->HeldStack,
                             .WantedStack = Edge->WantedStack,
                             .Thread = Edge->Thread});
    }
}

/* ---- what locks tell ---- */

/* Bytes that no such lock has, free or held. */
static BOOLEAN ViIsNoLock(ULONG Kind, const volatile VOID *Address)
{
    ULONG64 Word;
    switch (KIND_OF(Kind)) {
    case KiSpinLock:
    case KiQueuedSpinLock: /* 0, or the owner's number and 1 */
        Word = __atomic_load_n((const volatile ULONG64 *)Address, __ATOMIC_RELAXED);
        return Word != 0 && ((ULONG)Word != 1 || Word >> 32 == 0);
    case KiExSpinLock: /* exclusive, or so many sharers */
        Word = __atomic_load_n((const volatile ULONG *)Address, __ATOMIC_RELAXED);
        return (Word & 0x80000000u) && (Word & 0x3FFFFFFFu);
    case KiPushLock: /* exclusive, or shared; one bit has no meaning */
        Word = __atomic_load_n((const volatile ULONG64 *)Address, __ATOMIC_RELAXED);
        return (Word & 5) == 5 || (Word & 8);
    case KiFastMutex:
    case KiFastMutexUnsafe:
    case KiGuardedMutex:
    case KiGuardedMutexUnsafe:
        return ((const volatile FAST_MUTEX *)Address)->Event.Header.Type != EventSynchronizationObject ||
               __atomic_load_n(&((const volatile FAST_MUTEX *)Address)->Count, __ATOMIC_RELAXED) > 1;
    default:
        return FALSE;
    }
}

static BOOLEAN ViIsOtherKind(const VI_LOCK *Lock, ULONG Kind)
{
    return ViKinds[Lock->Kind].Family != ViKinds[KIND_OF(Kind)].Family;
}

static DECLSPEC_NORETURN VOID ViStop(ULONG Code, const volatile VOID *Address, ULONG_PTR Second, ULONG_PTR Third)
{
    static const CHAR *const Words[] = {
        [0x0] = "A lock was acquired by the thread that already holds it: a deadlock.",
        [0x1] = "Locks are acquired in an order that can deadlock: the opposite order was seen before.",
        [0x2] = "A lock was acquired that was never initialised: its bytes are not those of such a lock.",
        [0x3] = "A lock was released before one that was acquired after it, to an IRQL at which that one cannot be held.",
        [0x4] = "A lock was released by another thread than the one that holds it.",
        [0x5] = "A lock was initialised while a thread holds it.",
        [0x7] = "A lock was released that nobody holds.",
        [0x8] = "A lock was acquired with a routine for another kind of lock than it was used as before.",
        [0x9] = "A lock was released with a routine for another kind of lock than it was acquired with.",
        [0xB] = "A pool block was freed that holds a lock which a thread holds.",
    };
    KiStop(0xC4, Words[Code - 0x1000], (const VOID *)Address, Code, (ULONG_PTR)Address, Second, Third);
}

static VOID ViWanted(KI_LOCK_EVENT Event, ULONG Kind, const volatile VOID *Address, KTHREAD *Thread)
{
    ULONG Verdict = ViIsNoLock(Kind, Address) ? 0x1002 : 0;
    VI_LOCK *Lock;
    VI_HOLD *Mine;
    KiAcquireLock(&WatchLock);
    ViStepCount = Verdict != 0 ? 0 : ViStepCount;
    if (ViOn && Verdict == 0 && (Thread->VfState != NULL || ViFindLock(Address) != NULL) &&
        (Lock = ViGetLock(Address, Kind, Thread)) != NULL) {
        Mine = ViHoldOf(Lock, Thread);
        if (ViIsOtherKind(Lock, Kind)) {
            Verdict = 0x1008;
            ViStepCount = 0;
            if (Lock->Holds != NULL)
                ViStepOfHold(Lock->Holds, NULL);
        } else if (Mine != NULL) {
            if (Event == KiLockWanted && !((Kind & KI_LOCK_SHARED) && (Mine->Kind & KI_LOCK_SHARED))) {
                Verdict = 0x1000;
                ViStepCount = 0;
                ViStepOfHold(Mine, Address);
            }
        } else {
            for (VI_HOLD *Held = Thread->VfState; Held != NULL; Held = Held->Next) {
                if (ViHasEdge(Held->Lock, Lock))
                    continue;
                if (ViLeads(Lock, Held->Lock)) {
                    Verdict = 0x1001;
                    ViStepCount = 0;
                    ViStepsOfCircle(Held, Lock);
                    break;
                }
                ViAddEdge(Held, Lock);
            }
        }
    }
    KiReleaseLock(&WatchLock);
    if (Verdict != 0)
        ViStop(Verdict, Address, 0, 0);
}

static VOID ViTaken(ULONG Kind, const volatile VOID *Address, KTHREAD *Thread)
{
    BOOLEAN Other = FALSE;
    VI_LOCK *Lock;
    VI_HOLD *Hold;
    KiAcquireLock(&WatchLock);
    if (ViOn && (Lock = ViGetLock(Address, Kind, Thread)) != NULL) {
        Other = ViIsOtherKind(Lock, Kind);
        ViStepCount = Other ? 0 : ViStepCount;
        /* Who cannot hold it any more, since another does: an owner whose release was not seen. */
        for (VI_HOLD *Each = Lock->Holds, *Next; Each != NULL; Each = Next) {
            Next = Each->OfLock;
            if (!(Kind & KI_LOCK_SHARED) || !(Each->Kind & KI_LOCK_SHARED))
                ViUnhold(Each);
        }
        if ((Hold = ViFreeHolds) != NULL)
            ViFreeHolds = Hold->Next;
        else if (ViHoldsUsed < VI_HOLDS)
            Hold = &ViHolds[ViHoldsUsed++];
        if (Hold != NULL) {
            *Hold = (VI_HOLD){.Lock = Lock,
                              .Thread = Thread,
                              .Next = Thread->VfState,
                              .OfLock = Lock->Holds,
                              .Kind = Kind,
                              .Stack = Thread->VfStack};
            Thread->VfState = Lock->Holds = Hold;
        }
    }
    KiReleaseLock(&WatchLock);
    if (Other)
        ViStop(0x1008, Address, 0, 0);
}

/* The lock acquired after Hold's that the thread cannot go on holding at an IRQL. */
static VI_HOLD *ViLeftBehind(const VI_HOLD *Hold, ULONG Irql)
{
    VI_HOLD *Found = NULL;
    for (VI_HOLD *Each = Hold->Thread->VfState; Each != NULL && Each != Hold; Each = Each->Next)
        if (Irql < ViKinds[KIND_OF(Each->Kind)].Needs)
            Found = Each;
    return Found;
}

static VOID ViReleased(ULONG Kind, const volatile VOID *Address, KTHREAD *Thread)
{
    ULONG_PTR Second = 0, Third = 0;
    ULONG Verdict = 0;
    VI_LOCK *Lock;
    VI_HOLD *Hold, *Behind;
    KiAcquireLock(&WatchLock);
    if (ViOn && (Lock = ViFindLock(Address)) != NULL) {
        if ((Hold = ViHoldOf(Lock, Thread)) != NULL) {
            if (KIND_OF(Hold->Kind) != KIND_OF(Kind)) {
                Verdict = 0x1009;
                ViStepCount = 0;
                ViStepOfHold(Hold, NULL);
            } else if (Kind >> 16 && (Behind = ViLeftBehind(Hold, (Kind >> 16) - 1)) != NULL) {
                Verdict = 0x1003;
                Second = (ULONG_PTR)Behind->Lock->Address;
                ViStepCount = 0;
                ViStepOfHold(Hold, NULL);
                ViStepOfHold(Behind, NULL);
            }
            ViUnhold(Hold);
        } else if (Lock->Holds != NULL && !ViOthersUnseen()) {
            Verdict = 0x1004;
            Second = (ULONG_PTR)Lock->Holds->Thread;
            Third = (ULONG_PTR)Thread;
            ViStepCount = 0;
            ViStepOfHold(Lock->Holds, NULL);
        }
        if (Lock->OnStack && Lock->Holds == NULL)
            ViForgetLock(Lock);
    }
    KiReleaseLock(&WatchLock);
    if (Verdict != 0)
        ViStop(Verdict, Address, Second, Third);
}

static VOID ViInitialized(const volatile VOID *Address)
{
    BOOLEAN Held = FALSE;
    VI_LOCK *Lock;
    KiAcquireLock(&WatchLock);
    if (ViOn && (Lock = ViFindLock(Address)) != NULL) {
        if ((Held = Lock->Holds != NULL)) {
            ViStepCount = 0;
            ViStepOfHold(Lock->Holds, NULL);
        }
        ViForgetLock(Lock);
    }
    KiReleaseLock(&WatchLock);
    if (Held)
        ViStop(0x1005, Address, 0, 0);
}

static VOID ViReleasedByOther(const volatile VOID *Address, KTHREAD *Thread)
{
    KTHREAD *Owner = NULL;
    VI_LOCK *Lock;
    KiAcquireLock(&WatchLock);
    if ((Lock = ViFindLock(Address)) != NULL && Lock->Holds != NULL) {
        Owner = Lock->Holds->Thread;
        ViStepCount = 0;
        ViStepOfHold(Lock->Holds, NULL);
    }
    KiReleaseLock(&WatchLock);
    if (Owner != NULL && Owner != Thread)
        ViStop(0x1004, Address, (ULONG_PTR)Owner, (ULONG_PTR)Thread);
}

static const volatile VOID *ViLetGo(KTHREAD *Thread, BOOLEAN Tell)
{
    const volatile VOID *Held = NULL;
    KiAcquireLock(&WatchLock);
    while (Thread->VfState != NULL) {
        VI_HOLD *Hold = Thread->VfState;
        VI_LOCK *Lock = Hold->Lock;
        Held = Lock->Address;
        if (Tell) {
            ViStepCount = 0;
            ViStepOfHold(Hold, NULL);
        }
        ViUnhold(Hold);
        if (Lock->OnStack && Lock->Holds == NULL)
            ViForgetLock(Lock);
    }
    Thread->VfStack = 0;
    KiReleaseLock(&WatchLock);
    return Held;
}

#define VI_SEEN   1u
#define VI_UNSEEN 2u
static UCHAR ViSees(VOID)
{
    return !ViOthersUnseen() || ViIsCallerVerified() ? VI_SEEN : VI_UNSEEN;
}

static KI_NO_MSAN VOID ViWatch(KI_LOCK_EVENT Event, ULONG Kind, const volatile VOID *Address, KTHREAD *Thread)
{
    const ULONG_PTR *Frame = __builtin_frame_address(0);
    const volatile VOID *Held;
    switch (Event) {
    case KiLockWanted:
    case KiMutantWanted:
        Thread->VfSeen = ViSees();
        if (Thread->VfSeen != VI_SEEN)
            break;
        /* The routine that told has a frame of its own; behind it is its caller. */
        Thread->VfStack = ExpState.StackDepth != 0 ? ExpCaptureStack(((const ULONG_PTR *)Frame[0])[1]) : 0;
        ViWanted(Event, Kind, Address, Thread);
        break;
    case KiLockTaken:
        if (Thread->VfSeen == 0) /* an attempt */
            Thread->VfSeen = Thread == KiCurrentThread() ? ViSees() : VI_SEEN;
        if (Thread->VfSeen == VI_SEEN)
            ViTaken(Kind, Address, Thread);
        Thread->VfStack = 0;
        Thread->VfSeen = 0;
        break;
    case KiLockReleased:
        ViReleased(Kind, Address, Thread);
        break;
    case KiLockInitialized:
        ViInitialized(Address);
        break;
    case KiLockReleasedByOther:
        ViReleasedByOther(Address, Thread);
        break;
    case KiLockReleasedFree:
        if (ViSees() != VI_SEEN)
            break;
        KiAcquireLock(&WatchLock);
        ViStepCount = 0;
        KiReleaseLock(&WatchLock);
        ViStop(0x1007, Address, 0, 0);
    case KiLockThreadEnds:
        Held = ViLetGo(Thread, TRUE);
        if (Held != NULL && Thread->System)
            KiStop(0xC4, "A thread ended while it held a lock.", (const VOID *)Held, 0x100A, (ULONG_PTR)Thread, (ULONG_PTR)Held,
                   0);
        break;
    case KiLockThreadCaught:
        ViLetGo(Thread, FALSE);
        break;
    }
}

ULONG VfReadLockOrder(VF_LOCK_STEP Steps[VF_LOCK_STEPS])
{
    for (ULONG Index = 0; Index < ViStepCount; Index++) {
        const VI_STEP *From = &ViSteps[Index];
        VF_LOCK_STEP *To = &Steps[Index];
        To->Held = (ULONG_PTR)From->Held;
        To->Wanted = (ULONG_PTR)From->Wanted;
        To->Thread = From->Thread;
        To->HeldFrames = ExpReadStack(From->HeldStack, To->HeldStack);
        To->WantedFrames = ExpReadStack(From->WantedStack, To->WantedStack);
    }
    return ViStepCount;
}

/* ---- the Verifier's other parts ---- */

static const volatile VOID *ViForgetIn(ULONG_PTR From, SIZE_T Bytes, BOOLEAN All, KTHREAD **Owner)
{
    const volatile VOID *Held = NULL;
    ULONG_PTR First = From >> PAGE_SHIFT, Pages = Bytes == 0 ? 0 : ((From + Bytes - 1) >> PAGE_SHIFT) - First + 1;
    ULONG_PTR Buckets = Pages < VI_BUCKETS ? Pages : VI_BUCKETS;
    KiAcquireLock(&WatchLock);
    for (ULONG_PTR Index = 0; ViOn && Index < Buckets; Index++) {
        VI_LOCK *Lock = Pages < VI_BUCKETS ? *ViBucketOfPage(First + Index) : ViBuckets[Index], *Next;
        for (; Lock != NULL; Lock = Next) {
            Next = Lock->HashNext;
            if ((ULONG_PTR)Lock->Address - From >= Bytes)
                continue;
            if (Lock->Holds != NULL) {
                Held = Lock->Address;
                *Owner = Lock->Holds->Thread;
                ViStepCount = 0;
                ViStepOfHold(Lock->Holds, NULL);
                if (!All)
                    continue;
            }
            ViForgetLock(Lock);
        }
    }
    KiReleaseLock(&WatchLock);
    return Held;
}

VOID ViCheckLocksFreed(const VOID *Block, SIZE_T Size)
{
    KTHREAD *Owner = NULL;
    const volatile VOID *Held = ViForgetIn((ULONG_PTR)Block, Size, FALSE, &Owner);
    if (Held != NULL)
        KiStop(0xC4, "A pool block was freed that holds a lock which a thread holds.", Block, 0x100B, (ULONG_PTR)Held,
               (ULONG_PTR)Owner, 0);
}

VOID ViForgetLocks(ULONG_PTR Base, SIZE_T Size)
{
    KTHREAD *Owner;
    ViForgetIn(Base, Size, TRUE, &Owner);
}

VOID ViSetDeadlockDetection(BOOLEAN On)
{
    if (!On)
        KiSetLockWatch(NULL);
    KiAcquireLock(&WatchLock);
    if (ViOn != On) {
        for (ULONG Index = 0; Index < ViLocksUsed; Index++)
            while (ViLocks[Index].Holds != NULL)
                ViUnhold(ViLocks[Index].Holds);
        memset(ViLocks, 0, ViLocksUsed * sizeof(VI_LOCK));
        memset(ViBuckets, 0, sizeof(ViBuckets));
        ViFreeLocks = NULL;
        ViFreeHolds = NULL;
        ViStepCount = ViHoldsUsed = 0;
        ViLocksUsed = ViFreeEdge = ViEdgesUsed = ViSearch = 0;
        ViOn = On;
    }
    KiReleaseLock(&WatchLock);
    if (On)
        KiSetLockWatch(ViWatch);
}

const CHAR *ViValidateDeadlock(VOID)
{
    const CHAR *Broken = NULL;
    KiAcquireLock(&WatchLock);
    for (ULONG Index = 0; Index < ViLocksUsed && Broken == NULL; Index++) {
        VI_LOCK *Lock = &ViLocks[Index];
        VI_HOLD *Held;
        VI_EDGE *Edge;
        if (Lock->Address == NULL)
            continue;
        for (ULONG *Link = &Lock->Edges; (Edge = ViEdgeAt(Link)) != NULL; Link = &Edge->Next)
            if (Edge->To == Lock || ViLeads(Edge->To, Lock))
                Broken = "D1: a circle of locks";
        for (VI_HOLD *Hold = Lock->Holds; Hold != NULL; Hold = Hold->OfLock) {
            for (Held = Hold->Thread->VfState; Held != NULL && Held != Hold;)
                Held = Held->Next;
            if (Held == NULL || Hold->Lock != Lock)
                Broken = "D2: a lock's holder does not hold it";
        }
    }
    KiReleaseLock(&WatchLock);
    return Broken;
}
