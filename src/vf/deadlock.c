/*
 * deadlock.c - deadlock detection (0x20): the order in which locks are taken, and locks used wrongly. SPDX-License-Identifier: MIT
 *
 * Spin locks (plain and in-stack queued), fast and guarded mutexes and KMUTEXes tell this file what happens to them while the
 * option is on (KiTellLockWatch). Each lock that was taken is a node; an edge A -> B says that some thread has acquired B while it
 * held A. An acquisition that would close a circle is a lock order violation, whether or not anybody ever deadlocks:
 *
 *      thread 1:  A, then B       A ---> B       thread 2 (or 1, later):  B, then A  ==>  B is held, and A leads to B: stop
 *
 *   0xC4/0x1000 (lock)                  acquired by the thread that holds it (a KMUTEX may be)
 *   0xC4/0x1001 (lock)                  acquired against the order; the circle is printed first
 *   0xC4/0x1004 (lock, owner, thread)   released by another thread than its owner
 *   0xC4/0x1005 (lock)                  initialised while it is held
 *   0xC4/0x1007 (lock)                  released while nobody holds it
 *   0xC4/0x100A (thread, lock)          a system thread ends holding it
 *   0xC4/0x100B (lock, owner)           pool freed that holds a held lock
 *
 * The stop is made before the acquisition waits. Attempts (KeTryTo..., waits with a time-out or for several objects) cannot
 * deadlock: nothing leads to their locks, but they lead to what is acquired under them. ERESOURCEs are not watched, as
 * documented. A lock on its own thread's stack is not watched: the next lock at that address is another one. What is known of
 * a lock is forgotten when it is initialised, its pool block freed or its driver unloaded.
 *
 * Memory is bounded: VI_LOCKS nodes, VI_EDGES edges. When they run out, what is not held (all edges) is forgotten.
 *
 * Invariants
 *  D1. The edges make no circle.
 *  D2. A node with an owner is in its owner's list (KTHREAD.VfState, HeldNext) once, and no other node is in any.
 *  D3. An edge whose Generation is not its target's is dead; it is unlinked when it is next passed.
 *
 * WatchLock (leaf; also under the dispatcher lock) guards everything; it is never held while stopping. Any IRQL.
 */
#include "vf/vfp.h"

#define VI_LOCKS   4096u
#define VI_EDGES   16384u
#define VI_BUCKETS 1024u
#define VI_SHOWN   8u

typedef struct _VI_LOCK {
    const volatile VOID *Address;
    KTHREAD *Owner;
    struct _VI_LOCK *HeldNext, *HashNext; /* HashNext: of its bucket, or of the free list */
    struct _VI_LOCK *Todo, *Parent;       /* a search's */
    ULONG Generation, Search, Edges;      /* Edges: index + 1 of the first, 0: none */
} VI_LOCK;
typedef struct _VI_EDGE {
    VI_LOCK *To;
    ULONG Generation, Next;
} VI_EDGE;

static KI_LOCK WatchLock;
static BOOLEAN ViOn;
static VI_LOCK ViLocks[VI_LOCKS], *ViBuckets[VI_BUCKETS], *ViFreeLocks;
static VI_EDGE ViEdges[VI_EDGES];
static ULONG ViLocksUsed, ViFreeEdge, ViEdgesUsed, ViSearch; /* Used: ever handed out since the last reset */

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

static VOID ViUnhold(VI_LOCK *Lock)
{
    VI_LOCK **Link;
    if (Lock->Owner == NULL)
        return;
    for (Link = (VI_LOCK **)&Lock->Owner->VfState; *Link != NULL && *Link != Lock;)
        Link = &(*Link)->HeldNext;
    if (*Link != NULL)
        *Link = Lock->HeldNext;
    Lock->Owner = NULL;
    Lock->HeldNext = NULL;
}

static VOID ViForgetLock(VI_LOCK *Lock)
{
    VI_LOCK **Link = ViBucketOfPage((ULONG_PTR)Lock->Address >> PAGE_SHIFT);
    ViUnhold(Lock);
    ViFreeEdges(Lock);
    while (*Link != Lock)
        Link = &(*Link)->HashNext;
    *Link = Lock->HashNext;
    Lock->Generation++;
    Lock->Address = NULL;
    Lock->HashNext = ViFreeLocks;
    ViFreeLocks = Lock;
}

static VI_LOCK *ViGetLock(const volatile VOID *Address)
{
    VI_LOCK *Lock = ViFindLock(Address), **Bucket;
    if (Lock != NULL)
        return Lock;
    if (ViFreeLocks == NULL && ViLocksUsed == VI_LOCKS)
        for (ULONG Index = 0; Index < VI_LOCKS; Index++)
            if (ViLocks[Index].Address != NULL && ViLocks[Index].Owner == NULL)
                ViForgetLock(&ViLocks[Index]);
    if ((Lock = ViFreeLocks) != NULL)
        ViFreeLocks = Lock->HashNext;
    else if (ViLocksUsed < VI_LOCKS)
        Lock = &ViLocks[ViLocksUsed++];
    else
        return NULL;
    Bucket = ViBucketOfPage((ULONG_PTR)Address >> PAGE_SHIFT);
    Lock->Address = Address;
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

static VOID ViAddEdge(VI_LOCK *From, VI_LOCK *To)
{
    ULONG Index;
    if (ViFreeEdge == 0 && ViEdgesUsed == VI_EDGES)
        for (ULONG Each = 0; Each < ViLocksUsed; Each++)
            ViFreeEdges(&ViLocks[Each]);
    if ((Index = ViFreeEdge) != 0)
        ViFreeEdge = ViEdges[Index - 1].Next;
    else
        Index = ++ViEdgesUsed;
    ViEdges[Index - 1] = (VI_EDGE){.To = To, .Generation = To->Generation, .Next = From->Edges};
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
            if (Edge->To == To)
                return TRUE;
            Edge->To->Todo = Todo;
            Todo = Edge->To;
        }
    }
    return FALSE;
}

/* ---- what locks tell ---- */

static BOOLEAN ViIsOnStack(const volatile VOID *Lock, const KTHREAD *Thread)
{
    return (ULONG_PTR)Lock >= Thread->StackLow && (ULONG_PTR)Lock < Thread->StackHigh;
}

static VOID ViWanted(KI_LOCK_EVENT Event, const volatile VOID *Address, KTHREAD *Thread)
{
    const volatile VOID *Circle[VI_SHOWN];
    ULONG Shown = 0, Verdict = 0;
    VI_LOCK *Lock;
    KiAcquireLock(&WatchLock);
    if (ViOn && Thread->VfState != NULL && (Lock = ViGetLock(Address)) != NULL) {
        if (Lock->Owner == Thread)
            Verdict = Event == KiLockWanted ? 0x1000 : 0;
        else
            for (VI_LOCK *Held = Thread->VfState; Held != NULL; Held = Held->HeldNext) {
                if (ViHasEdge(Held, Lock))
                    continue;
                if (ViLeads(Lock, Held)) {
                    Verdict = 0x1001;
                    for (VI_LOCK *Each = Held; Each != NULL && Shown < VI_SHOWN; Each = Each->Parent)
                        Circle[Shown++] = Each->Address;
                    break;
                }
                ViAddEdge(Held, Lock);
            }
    }
    KiReleaseLock(&WatchLock);
    if (Verdict == 0)
        return;
    if (Verdict == 0x1000)
        KiStop(0xC4, "A lock was acquired by the thread that already holds it: a deadlock.", (const VOID *)Address, 0x1000,
               (ULONG_PTR)Address, 0, 0);
    DbgPrint("Lock order: %p is held and %p is acquired. Before:\n", Circle[0], Address);
    while (Shown-- > 1)
        DbgPrint("    %p was acquired while %p was held\n", Circle[Shown - 1], Circle[Shown]);
    KiStop(0xC4, "Locks are acquired in an order that can deadlock: the opposite order was seen before.", (const VOID *)Address,
           0x1001, (ULONG_PTR)Address, 0, 0);
}

static VOID ViTaken(const volatile VOID *Address, KTHREAD *Thread)
{
    VI_LOCK *Lock;
    KiAcquireLock(&WatchLock);
    if (ViOn && (Lock = ViGetLock(Address)) != NULL) {
        ViUnhold(Lock); /* an owner whose release was not seen */
        Lock->Owner = Thread;
        Lock->HeldNext = Thread->VfState;
        Thread->VfState = Lock;
    }
    KiReleaseLock(&WatchLock);
}

static VOID ViReleased(const volatile VOID *Address)
{
    VI_LOCK *Lock;
    KiAcquireLock(&WatchLock);
    if (ViOn && (Lock = ViFindLock(Address)) != NULL)
        ViUnhold(Lock);
    KiReleaseLock(&WatchLock);
}

static VOID ViInitialized(const volatile VOID *Address)
{
    KTHREAD *Owner = NULL;
    VI_LOCK *Lock;
    KiAcquireLock(&WatchLock);
    if (ViOn && (Lock = ViFindLock(Address)) != NULL) {
        Owner = Lock->Owner;
        ViForgetLock(Lock);
    }
    KiReleaseLock(&WatchLock);
    if (Owner != NULL)
        KiStop(0xC4, "A lock was initialised while a thread holds it.", (const VOID *)Address, 0x1005, (ULONG_PTR)Address, 0,
               0);
}

static VOID ViReleasedByOther(const volatile VOID *Address, KTHREAD *Thread)
{
    KTHREAD *Owner;
    VI_LOCK *Lock;
    KiAcquireLock(&WatchLock);
    Lock = ViFindLock(Address);
    Owner = Lock != NULL ? Lock->Owner : NULL;
    KiReleaseLock(&WatchLock);
    if (Owner != NULL && Owner != Thread)
        KiStop(0xC4, "A lock was released by another thread than the one that holds it.", (const VOID *)Address, 0x1004,
               (ULONG_PTR)Address, (ULONG_PTR)Owner, (ULONG_PTR)Thread);
}

static const volatile VOID *ViLetGo(KTHREAD *Thread)
{
    const volatile VOID *Held = NULL;
    KiAcquireLock(&WatchLock);
    while (Thread->VfState != NULL) {
        Held = ((VI_LOCK *)Thread->VfState)->Address;
        ViUnhold(Thread->VfState);
    }
    KiReleaseLock(&WatchLock);
    return Held;
}

static VOID ViWatch(KI_LOCK_EVENT Event, const volatile VOID *Address, KTHREAD *Thread)
{
    const volatile VOID *Held;
    switch (Event) {
    case KiLockWanted:
    case KiMutantWanted:
        if (!ViIsOnStack(Address, Thread))
            ViWanted(Event, Address, Thread);
        break;
    case KiLockTaken:
        if (!ViIsOnStack(Address, Thread))
            ViTaken(Address, Thread);
        break;
    case KiLockReleased:
        ViReleased(Address);
        break;
    case KiLockInitialized:
        ViInitialized(Address);
        break;
    case KiLockReleasedByOther:
        ViReleasedByOther(Address, Thread);
        break;
    case KiLockReleasedFree:
        KiStop(0xC4, "A lock was released that nobody holds.", (const VOID *)Address, 0x1007, (ULONG_PTR)Address, 0, 0);
    case KiLockThreadEnds:
        Held = ViLetGo(Thread);
        if (Held != NULL && Thread->System)
            KiStop(0xC4, "A thread ended while it held a lock.", (const VOID *)Held, 0x100A, (ULONG_PTR)Thread, (ULONG_PTR)Held,
                   0);
        break;
    case KiLockThreadCaught:
        ViLetGo(Thread);
        break;
    }
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
            if (Lock->Owner != NULL) {
                Held = Lock->Address;
                *Owner = Lock->Owner;
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
            ViUnhold(&ViLocks[Index]);
        memset(ViLocks, 0, ViLocksUsed * sizeof(VI_LOCK));
        memset(ViBuckets, 0, sizeof(ViBuckets));
        ViFreeLocks = NULL;
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
        VI_LOCK *Lock = &ViLocks[Index], *Held;
        VI_EDGE *Edge;
        if (Lock->Address == NULL)
            continue;
        for (ULONG *Link = &Lock->Edges; (Edge = ViEdgeAt(Link)) != NULL; Link = &Edge->Next)
            if (Edge->To == Lock || ViLeads(Edge->To, Lock))
                Broken = "D1: a circle of locks";
        if (Lock->Owner == NULL)
            continue;
        for (Held = Lock->Owner->VfState; Held != NULL && Held != Lock;)
            Held = Held->HeldNext;
        if (Held == NULL)
            Broken = "D2: an owned lock is not in its owner's list";
    }
    KiReleaseLock(&WatchLock);
    return Broken;
}
