/*
 * sharedfault.c - faults on what views show: prototype entries, and copies on write. SPDX-License-Identifier: MIT
 *
 * The entry of a view says which prototype entry it shows; that says where the page is:
 *
 *      prototype entry            what happens                                        locks held while it does
 *      valid                      the view gets a share                               entry, PfnLock
 *      transition                 the frame is made active again (soft)               entry, PfnLock
 *      transition, being read     wait for it, look again                             none
 *      demand zero                a frame of zeroes                                   entry, prototype
 *      page file                  read by inpage.c with its neighbours, look again    none while the device works
 *      in file                    read through MM_SEGMENT_IO, look again              none while the device works
 *      zero                       reserved only: STATUS_ACCESS_VIOLATION
 *
 * Fault-around: with the page that was touched come those of its aligned 64 KiB (MI_AROUND) that are resident and that the view
 * shows in the same way; all are entered at once and loaded into the TB as one run where their frames follow each other. A
 * resident page whose contents are in no file or page file yet goes in Dirty if it may be written: it is modified anyway, and a
 * write costs no fault more. Pages of zeroes come along as a touch in order of addresses goes on: as many as are resident just
 * before.
 *
 * A page that a view shows relocated (relocate.c) is made resident like any other, but not entered: the view gets a copy of it
 * at once, private from then on, in which the difference of the bases is added.
 *
 * Reading a file: the page's aligned 64 KiB, as far as it is in the file; somebody who reads in order (what is before that is
 * resident) gets 256 KiB. The frames are in transition and READING meanwhile; who else wants one waits for it. A cluster that
 * fails is tried once more with the wanted page alone. Nothing comes along while memory is short.
 *
 *      in file --lock--> transition, READING --read--> standby --look again--> valid
 *                                            --failed--> in file; STATUS_IN_PAGE_ERROR
 *
 * Locks: PteLock > PrototypeLock > PfnLock; none while waiting. The view entry, under its lock, keeps the segment; a reference
 * keeps it while no lock is held. IRQL <= APC_LEVEL where a device is needed. Watch: tests/ddi/section_paging.c, bench_space.
 */
#include "mm/segment.h"

#define MI_AROUND 16u  /* pages */
#define MI_TRIES  100u /* reads that found no memory for their request */

typedef struct _MI_SHARED_FAULT {
    ULONG_PTR Va;
    PMMPTE Pte, Prototype;
    MMPTE Entry; /* of the view, as it was */
    MI_PROT Protection;
    BOOLEAN Write, User, Enters, Copies, Moves;
    PMMSUPPORT Set;
    PFN_NUMBER *Frame;
    ULONG_PTR FillVa; /* to load into the TB */
    SIZE_T FillPages;
} MI_SHARED_FAULT;

static inline BOOLEAN MiIsReading(MMPTE Prototype)
{
    return MiPteIsTransition(Prototype) && (MiPfn(MiPtePage(Prototype))->Flags & MI_PFN_READING);
}
/* What keeps frames for others: neighbours are then left where they are. */
static inline BOOLEAN MiIsShort(VOID)
{
    return MiAvailable() < MiThreshold(Low) + MI_AROUND;
}

/* ---- showing what is resident ---- */
/* One more entry shows the frame of a valid or transition prototype entry. PfnLock and the entry's lock held. */
static VOID MiShare(const MI_SHARED_FAULT *Fault, PMMPTE Pte, PMMPTE Prototype, BOOLEAN Dirty)
{
    MMPTE Entry = MiReadPte(Prototype);
    PFN_NUMBER Page = MiPtePage(Entry);
    PMMPFN Pfn = MiPfn(Page);
    if (MiPteIsValid(Entry)) {
        Pfn->u2.ShareCount++;
    } else {
        MiActivateFrameLocked(Page, Pfn);
        MiWritePte(Prototype, MiPteValidClean(Page, MI_PROT_READWRITE, FALSE));
    }
    Pfn->Flags &= (USHORT)~MI_PFN_AHEAD;
    Dirty |= !Pfn->File && ((Pfn->Flags & MI_PFN_MODIFIED) || MiPteIsZero(Pfn->OriginalPte));
    MMPTE New = Dirty && !MiProtIsCopyOnWrite(Fault->Protection) ? MiPteValid(Page, Fault->Protection, Fault->User)
                                                                 : MiPteValidClean(Page, Fault->Protection, Fault->User);
    MiWritePte(Pte, MiPteInWorkingSet(MiPteShared(New)));
}

/* Neighbours that are resident. PfnLock and the entry's lock held. Returns how many were entered. */
static ULONG MiShowAround(MI_SHARED_FAULT *Fault)
{
    ULONG Here = (ULONG)(Fault->Va >> PAGE_SHIFT) % MI_AROUND, Entered = 0, First = Here, Last = Here;
    BOOLEAN Short = MiIsShort();
    for (ULONG Index = 0; Index < MI_AROUND; Index++) {
        PMMPTE Pte = Fault->Pte - Here + Index, Prototype = Fault->Prototype - Here + Index;
        if (Index == Here || PAGE_ALIGN((PVOID)Prototype) != PAGE_ALIGN((PVOID)Fault->Prototype) ||
            !MiPteShowsAs(MiReadPte(Pte), Prototype, Fault->Protection)) {
            continue;
        }
        MMPTE Entry = MiReadPte(Prototype);
        if (MiPteIsValid(Entry) || (MiPteIsTransition(Entry) && !Short && !MiIsReading(Entry))) {
            MiShare(Fault, Pte, Prototype, FALSE);
            Entered++;
            First = Index < First ? Index : First;
            Last = Index;
        }
    }
    if (Entered) {
        Fault->FillVa = (Fault->Va & ~(ULONG_PTR)(PAGE_SIZE - 1)) - ((ULONG_PTR)(Here - First) << PAGE_SHIFT);
        Fault->FillPages = Last - First + 1;
    }
    return Entered;
}

/* Locks the frame for the caller, PfnLock held. */
static NTSTATUS MiHoldShared(const MI_SHARED_FAULT *Fault, PFN_NUMBER Page)
{
    if (!MiReferenceFrameLocked(Page)) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    if (Fault->Write) {
        MiPfn(Page)->Flags |= MI_PFN_MODIFIED; /* it will be written behind the entry's back */
    }
    *Fault->Frame = Page;
    return STATUS_SUCCESS;
}

/* The page is resident. PfnLock and the entry's lock held, *Joined entries were made valid. */
static NTSTATUS MiShow(MI_SHARED_FAULT *Fault, ULONG *Joined)
{
    if (Fault->Enters) {
        MiShare(Fault, Fault->Pte, Fault->Prototype, Fault->Write);
        *Joined = 1 + (Fault->Set->HardMaximum ? 0 : MiShowAround(Fault));
    }
    return Fault->Frame && !Fault->Copies ? MiHoldShared(Fault, MiPtePage(MiReadPte(Fault->Prototype))) : STATUS_SUCCESS;
}

/* The node that the page's frame is wanted from, as MI_TAKE_NODE: the segment's, else the view's, else (0) the thread's. */
static ULONG MiNodeFor(const MI_SHARED_FAULT *Fault)
{
    if (__builtin_expect(MiState->Nodes == 1, 1)) {
        return 0;
    }
    ULONG64 Page;
    ULONG Node = __atomic_load_n(&MiSegmentOfPrototype(Fault->Prototype, &Page)->NodePlusOne, __ATOMIC_RELAXED);
    Node = Node ? Node : MiPteViewNode(Fault->Entry);
    return Node ? MI_TAKE_NODE(Node - 1) : 0;
}

/* ---- pages of zeroes ---- */
/* How many: as many as are resident just before, while the entries are alike. */
static ULONG MiZeroWindow(const MI_SHARED_FAULT *Fault, MMPTE Zero)
{
    ULONG Here = (ULONG)(Fault->Va >> PAGE_SHIFT) % MI_AROUND, Before = 0, Count = 1;
    ULONG Index = (ULONG)(((ULONG_PTR)Fault->Prototype & (PAGE_SIZE - 1)) / sizeof(MMPTE));
    if (!Fault->Enters || Fault->Set->HardMaximum || MiIsShort()) {
        return 1;
    }
    while (Before < MI_AROUND && Index - Before > 2 && MiPteIsValid(MiReadPte(Fault->Prototype - Before - 1))) {
        Before++;
    }
    while (Count < Before && Here + Count < MI_AROUND && Index + Count < 512 &&
           MiReadPte(Fault->Prototype + Count).Long == Zero.Long &&
           MiPteShowsAs(MiReadPte(Fault->Pte + Count), Fault->Prototype + Count, Fault->Protection)) {
        Count++;
    }
    return Count;
}

/* The entry's and the prototype's locks held. STATUS_NO_MEMORY: no frame. */
static NTSTATUS MiShowZeroes(MI_SHARED_FAULT *Fault, MMPTE Zero, ULONG *Joined)
{
    PFN_NUMBER Base;
    BOOLEAN Dirty;
    NTSTATUS Status = STATUS_SUCCESS;
    ULONG Got = MiTakeFrames(MiZeroWindow(Fault, Zero), MI_TAKE_ZEROED | MI_TAKE_PAGEABLE | MI_TAKE_SHARED | MiNodeFor(Fault),
                             Fault->Prototype, &Base, &Dirty);
    if (Got == 0) {
        return STATUS_NO_MEMORY;
    }
    if (Dirty) {
        HalZeroPages(Base, Got);
    }
    MiCount(&MiState->DemandZeroFaults);
    for (ULONG Index = 0; Index < Got; Index++) {
        if (Fault->Enters) {
            MMPTE Own = MiPteValid(Base + Index, Fault->Protection, Fault->User);
            MiWritePte(Fault->Pte + Index, MiPteInWorkingSet(MiPteShared(Own)));
        }
        MiWritePte(Fault->Prototype + Index, MiPteValidClean(Base + Index, MI_PROT_READWRITE, FALSE));
    }
    if (Fault->Enters) {
        *Joined = Got;
        Fault->FillVa = Fault->Va & ~(ULONG_PTR)(PAGE_SIZE - 1);
        Fault->FillPages = Got;
        if (Fault->Frame == NULL || Fault->Copies) {
            return STATUS_SUCCESS;
        }
    }
    ULONG64 Commit = 0;
    KiAcquireLock(&MiState->PfnLock);
    if (!Fault->Enters) { /* a modified page that nobody shows */
        (VOID) MiDropShareLocked(Base, TRUE, &Commit);
    }
    if (Fault->Frame && !Fault->Copies) {
        Status = MiHoldShared(Fault, Base);
    }
    KiReleaseLock(&MiState->PfnLock);
    return Status;
}

/* ---- pages of files ---- */
/* The stretch of pages to read: [*First, *First + result), all in the file, of one prototype frame (and one part of an image). */
static ULONG MiFileWindow(PMI_SEGMENT Segment, ULONG64 Page, ULONG64 *First)
{
    ULONG64 Table = Page / MI_PROTOTYPES * MI_PROTOTYPES, Low = Page & ~(ULONG64)(MI_AROUND - 1), High;
    ULONG64 Last = __atomic_load_n(&Segment->Pages, __ATOMIC_ACQUIRE);
    const MI_PART *Part = Segment->Parts ? MiPartOf(Segment, Page) : NULL;
    *First = Page;
    if (MiAvailable() < MiThreshold(Low) + 2 * MM_SEGMENT_CLUSTER) { /* the frames, and a buffer to read through */
        return 1;
    }
    Last = Last < Table + MI_PROTOTYPES ? Last : Table + MI_PROTOTYPES;
    Low = Low > Table ? Low : Table;
    if (Part) {
        Low = Low > Part->FirstPage ? Low : Part->FirstPage;
        Last = Last < Part->FirstPage + Part->PageCount ? Last : Part->FirstPage + Part->PageCount;
    }
    High = (Page | (MI_AROUND - 1)) + 1;
    if (Page > Low || Low > Table) {
        MMPTE Before = MiReadPte(MiPrototypeOf(Segment, Page > Table ? Page - 1 : Page));
        if (MiPteIsValid(Before) || MiPteIsTransition(Before)) { /* in order */
            High = Page + MM_SEGMENT_CLUSTER;
        }
    }
    High = High < Last ? High : Last;
    while (*First > Low && MiPteIsInFile(MiReadPte(MiPrototypeOf(Segment, *First - 1)))) {
        --*First;
    }
    ULONG64 End = Page + 1;
    while (End < High && End - *First < MM_SEGMENT_CLUSTER && MiPteIsInFile(MiReadPte(MiPrototypeOf(Segment, End)))) {
        End++;
    }
    return (ULONG)(End - *First);
}

typedef struct _MI_FILE_READ {
    PMI_SEGMENT Segment;
    ULONG64 First;
    ULONG Count, Node; /* Node: MI_TAKE_NODE, or 0 */
    ULONG Frames[MM_SEGMENT_CLUSTER];
    PVOID Pages[MM_SEGMENT_CLUSTER]; /* where they are in the window */
} MI_FILE_READ;

/* Frames for the stretch, or for as much of it as holds Page. FALSE: none. The prototypes' lock held. */
static BOOLEAN MiTakeForFile(MI_FILE_READ *Read, ULONG64 Page)
{
    ULONG Want = Read->Count, Flags = MI_TAKE_READING | MI_TAKE_SHARED | Read->Node;
    BOOLEAN File = MiIsPageOfFile(Read->Segment, Page);
    Flags |= File ? MI_TAKE_FILE : 0;
    for (Read->Count = 0; Read->Count < Want;) {
        PMMPTE Prototype = MiPrototypeOf(Read->Segment, Read->First + Read->Count);
        PFN_NUMBER Base;
        BOOLEAN Dirty;
        ULONG Got = MiTakeFrames(Want - Read->Count, Flags, Prototype, &Base, &Dirty);
        if (Got == 0) {
            break;
        }
        KiAcquireLock(&MiState->PfnLock);
        for (ULONG Index = 0; Index < Got; Index++) {
            if (File) { /* else it has no copy: it is modified from the start, and the page file is its home */
                MiPfn(Base + Index)->OriginalPte = MiReadPte(Prototype + Index);
            }
            MiWritePte(Prototype + Index, MiPteTransition(Base + Index, MI_PROT_READWRITE));
            Read->Frames[Read->Count] = (ULONG)(Base + Index);
            Read->Pages[Read->Count++] = HalWindow(Base + Index);
        }
        KiReleaseLock(&MiState->PfnLock);
    }
    return Read->Count > Page - Read->First;
}

/* Pages [From, From + Count) of the stretch, whole: what the file does not have is zero. */
static NTSTATUS MiTransferIn(MI_FILE_READ *Read, ULONG From, ULONG Count)
{
    PMI_SEGMENT Segment = Read->Segment;
    ULONG64 Page = Read->First + From, Offset = Page << PAGE_SHIFT;
    ULONG64 Bytes = __atomic_load_n(&Segment->Bytes, __ATOMIC_RELAXED), Left = Bytes > Offset ? Bytes - Offset : 0;
    ULONG Done = 0;
    NTSTATUS Status = STATUS_SUCCESS;
    if (Segment->Parts) {
        const MI_PART *Part = MiPartOf(Segment, Page);
        ULONG64 Into = Part ? (Page - Part->FirstPage) << PAGE_SHIFT : 0;
        Left = Part && Part->FileBytes > Into ? Part->FileBytes - Into : 0;
        Offset = Part ? Part->FileOffset + Into : 0;
    }
    Left = Left < (ULONG64)Count << PAGE_SHIFT ? Left : (ULONG64)Count << PAGE_SHIFT;
    if (Left) {
        Status = Segment->Io->Read(Segment->Context, Offset, Read->Pages + From, (ULONG)Left, &Done);
        Status = Status == STATUS_END_OF_FILE ? STATUS_SUCCESS : Status;
    }
    for (ULONG Index = From; NT_SUCCESS(Status) && Index < From + Count; Index++) {
        ULONG Has = Done < PAGE_SIZE ? Done : PAGE_SIZE;
        if (Has < PAGE_SIZE) {
            memset((PUCHAR)Read->Pages[Index] + Has, 0, PAGE_SIZE - Has);
        }
        Done -= Has;
    }
    return Status;
}

/* The read has ended; pages [From, From + Good) are as they should be. */
static VOID MiEndFileRead(MI_FILE_READ *Read, ULONG From, ULONG Good)
{
    ULONG64 Commit = 0;
    KiAcquireLock(&MiState->PfnLock);
    for (ULONG Index = 0; Index < Read->Count; Index++) {
        PFN_NUMBER Page = Read->Frames[Index];
        PMMPFN Pfn = MiPfn(Page);
        Pfn->Flags &= (USHORT)~MI_PFN_READING;
        if (Index - From >= Good) {
            MiWritePte(MiPrototypeOf(Read->Segment, Read->First + Index), MiPteInFile(MI_PROT_READWRITE));
            Pfn->OriginalPte = MI_ZERO_PTE;
            Pfn->PteAddress = NULL;
            Pfn->Flags |= MI_PFN_DELETED;
        }
        (VOID) MiDereferenceFrameLocked(Page, &Commit);
        __atomic_add_fetch(MiPageWaitWord(&MiState->Pager, Page), 1, __ATOMIC_RELEASE);
    }
    MiState->Pager.PageReads++;
    MiState->Pager.PagesRead += Good;
    KiReleaseLock(&MiState->PfnLock);
    for (ULONG Index = 0; Index < Read->Count; Index++) {
        HalWake(MiPageWaitWord(&MiState->Pager, Read->Frames[Index]), MAXLONG);
    }
    if (Commit) {
        MiReturnCommitment(Commit);
    }
}

/* Reads the page, which is in the file, with its neighbours. The prototype's lock is held at the call, not at the return. STATUS_NO_MEMORY:
 * no frame. */
static NTSTATUS MiReadFromFile(PMI_SEGMENT Segment, ULONG64 Page, PKI_LOCK Lock, ULONG Node)
{
    MI_FILE_READ Read = {.Segment = Segment, .Node = Node};
    Read.Count = MiFileWindow(Segment, Page, &Read.First);
    if (!MiTakeForFile(&Read, Page)) {
        KiReleaseLock(Lock);
        if (Read.Count) {
            MiEndFileRead(&Read, 0, 0);
        }
        return STATUS_NO_MEMORY;
    }
    KiReleaseLock(Lock);
    MiCount(&MiState->HardFaults);
    ULONG From = 0, Good = Read.Count;
    NTSTATUS Status = MiTransferIn(&Read, 0, Read.Count);
    if (!NT_SUCCESS(Status) && Read.Count > 1) {
        From = (ULONG)(Page - Read.First);
        Good = 1;
        Status = MiTransferIn(&Read, From, 1);
    }
    MiEndFileRead(&Read, From, NT_SUCCESS(Status) ? Good : 0);
    return Status;
}

NTSTATUS MmPrefetchSegment(PMM_SEGMENT Segment, ULONG64 Offset)
{
    ULONG64 Page = Offset >> PAGE_SHIFT;
    if (Page >= __atomic_load_n(&Segment->Pages, __ATOMIC_ACQUIRE)) {
        return STATUS_SUCCESS; /* there is nothing to read */
    }
    PMMPTE Prototype = MiPrototypeOf(Segment, Page);
    PKI_LOCK Lock = MiPrototypeLock(Prototype);
    KiAcquireLock(Lock);
    if (!MiPteIsInFile(MiReadPte(Prototype))) {
        KiReleaseLock(Lock);
        return STATUS_SUCCESS;
    }
    ULONG Node = __atomic_load_n(&Segment->NodePlusOne, __ATOMIC_RELAXED);
    Node = Node ? MI_TAKE_NODE(Node - 1) : 0;
    NTSTATUS Status = MiReadFromFile(Segment, Page, Lock, Node);
    return Status == STATUS_NO_MEMORY ? STATUS_INSUFFICIENT_RESOURCES : Status;
}

/* ---- faults ---- */
/* The prototype entry names no frame. Its lock is held, the entry's is not, and the segment is referenced; the lock is released. */
static NTSTATUS MiFetch(MI_SHARED_FAULT *Fault, PMI_SEGMENT Segment, ULONG64 Page, PKI_LOCK Lock, MI_PAGE_IN *In)
{
    NTSTATUS Status;
    if (MiPteIsInFile(MiReadPte(Fault->Prototype))) {
        Status = MiReadFromFile(Segment, Page, Lock, MiNodeFor(Fault));
    } else {
        Status = MiReadIn(Fault->Prototype, Lock, NULL, Fault->Va, Fault->Write, &In->Wrong);
        KiReleaseLock(Lock);
    }
    if (NT_SUCCESS(Status)) {
        In->ReadIn = TRUE;
        return MI_AGAIN;
    }
    if (Status == STATUS_NO_MEMORY || (Status == STATUS_INSUFFICIENT_RESOURCES && In->Tries++ < MI_TRIES)) {
        return MiWaitForPages() ? MI_AGAIN : STATUS_NO_MEMORY;
    }
    MiCount(&MiState->Pager.InPageErrors);
    In->DeviceStatus = Status;
    return STATUS_IN_PAGE_ERROR;
}

/* What the prototype entry says, with the entry's lock held, which is released. */
static NTSTATUS MiResolvePrototype(MI_SHARED_FAULT *Fault, PKI_LOCK PteLock, MI_PAGE_IN *In)
{
    ULONG Joined = 0;
    NTSTATUS Status;
    KiAcquireLock(&MiState->PfnLock);
    MMPTE Entry = MiReadPte(Fault->Prototype);
    if (MiIsReading(Entry)) {
        KiReleaseLock(PteLock);
        MiWaitForRead(MiPtePage(Entry));
        return MI_AGAIN;
    }
    if (MiPteIsValid(Entry) || MiPteIsTransition(Entry)) {
        Status = MiShow(Fault, &Joined);
        KiReleaseLock(&MiState->PfnLock);
        if (!In->ReadIn) {
            MiCount(&MiState->SoftFaults);
        }
    } else {
        PKI_LOCK Lock = MiPrototypeLock(Fault->Prototype);
        KiReleaseLock(&MiState->PfnLock);
        KiAcquireLock(Lock);
        Entry = MiReadPte(Fault->Prototype);
        if (MiPteIsValid(Entry) || MiPteIsTransition(Entry)) {
            Status = MI_AGAIN;
        } else if (MiPteIsZero(Entry)) {
            Status = STATUS_ACCESS_VIOLATION;
        } else if (MiPteIsDemandZero(Entry)) {
            Status = MiShowZeroes(Fault, Entry, &Joined);
        } else {
            ULONG64 Page;
            PMI_SEGMENT Segment = MiSegmentOfPrototype(Fault->Prototype, &Page);
            MmReferenceSegment(Segment);
            KiReleaseLock(PteLock);
            if (KiCurrentThread()->Irql >= DISPATCH_LEVEL) {
                KiReleaseLock(Lock);
                KiStop(IRQL_NOT_LESS_OR_EQUAL,
                       "A page of a section that is not in memory was needed at DISPATCH_LEVEL or above.", NULL, Fault->Va,
                       KiCurrentThread()->Irql, Fault->Write, (ULONG_PTR)__builtin_return_address(0));
            }
            Status = MiFetch(Fault, Segment, Page, Lock, In);
            MmDereferenceSegment(Segment);
            return Status;
        }
        KiReleaseLock(Lock);
    }
    if (Joined) {
        MiJoinPages(Fault->Set, Fault->Pte, Joined);
    }
    KiReleaseLock(PteLock);
    if (Status == STATUS_NO_MEMORY) {
        return MiWaitForPages() ? MI_AGAIN : STATUS_NO_MEMORY;
    }
    return Status;
}

/* The view gets a relocated copy of a page that is resident, or was a moment ago. MI_AGAIN: look again. */
static NTSTATUS MiShowRelocated(ULONG_PTR Va)
{
    PMMPTE Pte = MiPteOf(Va);
    PKI_LOCK Lock = MiPteLock(Va);
    PFN_NUMBER Frame, Source = 0;
    BOOLEAN Dirty;
    ULONG64 Page, Commit = 0;
    if (!MiChargeCommitment(1, HighPoolPriority)) {
        return STATUS_COMMITMENT_LIMIT;
    }
    KiAcquireLock(Lock);
    MMPTE Entry = MiReadPte(Pte);
    BOOLEAN Wanted = MiPteIsPrototype(Entry) && MiPteIsRelocated(Entry);
    if (Wanted) {
        KiAcquireLock(&MiState->PfnLock);
        MMPTE There = MiReadPte(MiPtePrototypeAddress(Entry));
        Wanted = (MiPteIsValid(There) || MiPteIsTransition(There)) && !MiIsReading(There) &&
                 MiReferenceFrameLocked(MiPtePage(There));
        Source = MiPtePage(There);
        KiReleaseLock(&MiState->PfnLock);
    }
    BOOLEAN Taken = Wanted && MiTakeFrames(1, MI_TAKE_PAGEABLE, Pte, &Frame, &Dirty) != 0;
    if (Taken) {
        MI_PROT Protection = MiPteProtection(Entry);
        PMI_SEGMENT Segment = MiSegmentOfPrototype(MiPtePrototypeAddress(Entry), &Page);
        ULONG_PTR Base = (Va & ~(ULONG_PTR)(PAGE_SIZE - 1)) - (Page << PAGE_SHIFT);
        memcpy(HalWindow(Frame), HalWindow(Source), PAGE_SIZE);
        MiRelocate(Segment, Page, Base - Segment->Image.PreferredBase, HalWindow(Frame));
        Protection = MiProtIsCopyOnWrite(Protection) ? Protection - 1 : Protection; /* it is the view's own already */
        MiWritePte(Pte, MiPteInWorkingSet(MiPteValid(Frame, Protection, TRUE)));
        MiJoinWorkingSet(MiWorkingSetOfVa(Va), Pte);
    }
    if (Wanted) {
        KiAcquireLock(&MiState->PfnLock);
        (VOID) MiDereferenceFrameLocked(Source, &Commit);
        KiReleaseLock(&MiState->PfnLock);
    }
    KiReleaseLock(Lock);
    Commit += !Taken;
    if (Commit) {
        MiReturnCommitment(Commit);
    }
    if (!Taken) {
        return !Wanted || MiWaitForPages() ? MI_AGAIN : STATUS_NO_MEMORY;
    }
    MiCount(&MiState->RelocationFaults);
    MiChargeRegion(&MiState->Regions[MmRegionUser], 1);
    MiChargeSpace(MiSpaceOfVa(Va), 0, 1);
    return STATUS_SUCCESS;
}

NTSTATUS MiPrototypeFault(ULONG_PTR Va, BOOLEAN Write, BOOLEAN AnyProtection, PFN_NUMBER *Frame, MI_PAGE_IN *In)
{
    MI_SHARED_FAULT Fault = {.Va = Va, .Pte = MiPteOf(Va), .Write = Write, .Frame = Frame};
    PKI_LOCK Lock = MiPteLock(Va);
    KiAcquireLock(Lock);
    Fault.Entry = MiReadPte(Fault.Pte);
    if (!MiPteIsPrototype(Fault.Entry)) {
        KiReleaseLock(Lock);
        return MI_AGAIN;
    }
    Fault.Prototype = MiPtePrototypeAddress(Fault.Entry);
    Fault.Protection = MiPteProtection(Fault.Entry);
    Fault.User = HalIsUserAddress(Va);
    Fault.Set = MiWorkingSetOfVa(Va);
    Fault.Enters = MiProtAllowsAccess(Fault.Protection) && !MiProtIsGuard(Fault.Protection);
    Fault.Moves = MiPteIsRelocated(Fault.Entry);
    Fault.Copies = Fault.Moves || (Write && MiProtIsCopyOnWrite(Fault.Protection));
    if (AnyProtection ? Fault.Copies && !Fault.Enters : !Fault.Enters || (Write && !MiProtAllowsWrite(Fault.Protection))) {
        KiReleaseLock(Lock);
        return !AnyProtection && MiProtIsGuard(Fault.Protection) ? STATUS_GUARD_PAGE_VIOLATION : STATUS_ACCESS_VIOLATION;
    }
    Fault.Enters &= !Fault.Moves;
    NTSTATUS Status = MiResolvePrototype(&Fault, Lock, In);
    if (Fault.Moves && Status == STATUS_SUCCESS) {
        Status = MiShowRelocated(Va);
    }
    if (Fault.FillPages) {
        (VOID) HalFillTb((PVOID)Fault.FillVa, Fault.FillPages, 0);
    }
    return Status == STATUS_SUCCESS && Fault.Copies ? MI_AGAIN : Status;
}

/* The view gets a frame of its own, with a copy of what it showed. */
NTSTATUS MiCopyOnWrite(ULONG_PTR Va)
{
    PMMPTE Pte = MiPteOf(Va);
    PMI_SPACE Space = MiSpaceOfVa(Va);
    PFN_NUMBER Frame;
    BOOLEAN Dirty;
    ULONG64 Commit = 0;
    if (!MiChargeCommitment(1, HighPoolPriority)) {
        return STATUS_COMMITMENT_LIMIT;
    }
    for (;;) {
        PKI_LOCK Lock = MiPteLock(Va);
        KiAcquireLock(Lock);
        MMPTE Entry = MiReadPte(Pte);
        if (!MiPteIsValid(Entry) || !MiPteIsCopyOnWrite(Entry)) {
            KiReleaseLock(Lock);
            MiReturnCommitment(1);
            return STATUS_SUCCESS; /* another thread was faster */
        }
        if (MiTakeFrames(1, MI_TAKE_PAGEABLE, Pte, &Frame, &Dirty) == 0) {
            KiReleaseLock(Lock);
            if (!MiWaitForPages()) {
                MiReturnCommitment(1);
                return STATUS_NO_MEMORY;
            }
            continue;
        }
        memcpy(HalWindow(Frame), HalWindow(MiPtePage(Entry)), PAGE_SIZE);
        MI_PROT Protection = MiPteIsNoExecute(Entry) ? MI_PROT_READWRITE : MI_PROT_EXECUTE_READWRITE;
        MiWritePte(Pte, MiPteInWorkingSet(MiPteValid(Frame, Protection, TRUE))); /* a member before and after */
        HalFlushTb(PAGE_ALIGN(Va), 1);
        KiAcquireLock(&MiState->PfnLock);
        (VOID) MiDropShareLocked(MiPtePage(Entry), FALSE, &Commit);
        KiReleaseLock(&MiState->PfnLock);
        KiReleaseLock(Lock);
        break;
    }
    if (Commit) {
        MiReturnCommitment(Commit);
    }
    MiCount(&MiState->CopyOnWriteFaults);
    MiChargeRegion(&MiState->Regions[MmRegionUser], 1);
    MiChargeSpace(Space, 0, 1);
    return STATUS_SUCCESS;
}
