/*
 * bugcheck.c - the stop of the system: KeBugCheckEx and what happens in it. SPDX-License-Identifier: MIT
 *
 * KeBugCheckEx, KeBugCheck, KeRegisterBugCheckCallback, KeDeregisterBugCheckCallback,
 * KeRegisterBugCheckReasonCallback, KeDeregisterBugCheckReasonCallback; inside, KiBugCheck, KiStop and KiCatch.
 *
 * A stop goes: the state of the thread is noted and its stack captured; the callbacks run, at HIGH_LEVEL; the
 * reporter of the host layer writes the block (without one, the first two lines are written here); the machine halts.
 * Inside KiCatch on the same thread the last two steps are replaced by a jump back to the catcher.
 *
 *   running --KiBugCheck--> stopping (StopOwner = thread) --report--> halted
 *      |                      | a stop of the same thread: two lines, halt
 *      |                      | a stop of another thread: waits for the end
 *      +--KiBugCheck inside KiCatch--> running, in KiCatch
 *
 * A callback record: BufferEmpty --register--> BufferInserted --stop--> BufferStarted --> BufferFinished; a record that its
 * owner scribbled over (Checksum) becomes BufferIncomplete and is not called. After a caught stop the records are
 * BufferInserted again, so that the next stop calls them too.
 *
 * Invariants:
 *  1. StopOwner goes from 0 to a thread once and never back.
 *  2. A record is on its list exactly while its State is not BufferEmpty.
 *  3. KTHREAD.Catch is the innermost KiCatch whose frame is alive; the chain's addresses ascend.
 *
 * Locks: CallbackLock (KI_LOCK, any IRQL) guards both lists; it is not held while a callback runs, nor taken in a stop.
 *
 * Watch it: tests/ddi/KeBugCheckEx.c, tests/ddi/KeRegisterBugCheckCallback.c, tests/misuse.
 */
#include "ki.h"

typedef struct _KI_CATCH {
    KI_JUMP Jump;
    struct _KI_CATCH *Outer;
    KI_BUGCHECK *Stop;
    BOOLEAN Stopping; /* callbacks are running on its behalf */
    PVOID Mark[32];
} KI_CATCH;

VOID (*KiReportRoutine)(const KI_BUGCHECK *Stop);

static KI_LOCK CallbackLock;
static LIST_ENTRY CallbackList, ReasonList; /* all zero is empty */
static BOOLEAN Reporting;                   /* the block is being written */
static volatile LONG StopOwner;             /* id of the thread that stops the system; -1 for one without an id */

/* ---- callbacks ---- */

static VOID AddRecord(LIST_ENTRY *List, LIST_ENTRY *Entry)
{
    if (!List->Flink)
        List->Flink = List->Blink = List;
    Entry->Flink = List->Flink;
    Entry->Blink = List;
    List->Flink->Blink = Entry;
    List->Flink = Entry;
}

static VOID RemoveRecord(LIST_ENTRY *Entry)
{
    Entry->Blink->Flink = Entry->Flink;
    Entry->Flink->Blink = Entry->Blink;
}

static ULONG_PTR CallbackChecksum(const KBUGCHECK_CALLBACK_RECORD *Record)
{
    return (ULONG_PTR)Record->CallbackRoutine + (ULONG_PTR)Record->Buffer + Record->Length + (ULONG_PTR)Record->Component;
}

static ULONG_PTR ReasonChecksum(const KBUGCHECK_REASON_CALLBACK_RECORD *Record)
{
    return (ULONG_PTR)Record->CallbackRoutine + (ULONG_PTR)Record->Reason + (ULONG_PTR)Record->Component;
}

/* With the lock held, if the record is in the state: InsertRecord, or whoever takes it out, lets go of it. */
static BOOLEAN EnterRecord(const UCHAR *State, UCHAR Wanted)
{
    KiCurrentThread();
    KiAcquireLock(&CallbackLock);
    if (*State == Wanted)
        return TRUE;
    KiReleaseLock(&CallbackLock);
    return FALSE;
}

static BOOLEAN InsertRecord(LIST_ENTRY *List, LIST_ENTRY *Entry, UCHAR *State)
{
    *State = BufferInserted;
    AddRecord(List, Entry);
    KiReleaseLock(&CallbackLock);
    return TRUE;
}

static BOOLEAN DeregisterRecord(LIST_ENTRY *Entry, UCHAR *State)
{
    if (!EnterRecord(State, BufferInserted))
        return FALSE;
    RemoveRecord(Entry);
    *State = BufferEmpty;
    KiReleaseLock(&CallbackLock);
    return TRUE;
}

NTKERNELAPI BOOLEAN KeRegisterBugCheckCallback(PKBUGCHECK_CALLBACK_RECORD CallbackRecord,
                                               PKBUGCHECK_CALLBACK_ROUTINE CallbackRoutine, PVOID Buffer, ULONG Length,
                                               PUCHAR Component)
{
    if (!EnterRecord(&CallbackRecord->State, BufferEmpty))
        return FALSE;
    CallbackRecord->CallbackRoutine = CallbackRoutine;
    CallbackRecord->Buffer = Buffer;
    CallbackRecord->Length = Length;
    CallbackRecord->Component = Component;
    CallbackRecord->Checksum = CallbackChecksum(CallbackRecord);
    return InsertRecord(&CallbackList, &CallbackRecord->Entry, &CallbackRecord->State);
}

NTKERNELAPI BOOLEAN KeDeregisterBugCheckCallback(PKBUGCHECK_CALLBACK_RECORD CallbackRecord)
{
    return DeregisterRecord(&CallbackRecord->Entry, &CallbackRecord->State);
}

NTKERNELAPI BOOLEAN KeRegisterBugCheckReasonCallback(PKBUGCHECK_REASON_CALLBACK_RECORD CallbackRecord,
                                                     PKBUGCHECK_REASON_CALLBACK_ROUTINE CallbackRoutine,
                                                     KBUGCHECK_CALLBACK_REASON Reason, PUCHAR Component)
{
    if (!EnterRecord(&CallbackRecord->State, BufferEmpty))
        return FALSE;
    CallbackRecord->CallbackRoutine = CallbackRoutine;
    CallbackRecord->Reason = Reason;
    CallbackRecord->Component = Component;
    CallbackRecord->Checksum = ReasonChecksum(CallbackRecord);
    return InsertRecord(&ReasonList, &CallbackRecord->Entry, &CallbackRecord->State);
}

NTKERNELAPI BOOLEAN KeDeregisterBugCheckReasonCallback(PKBUGCHECK_REASON_CALLBACK_RECORD CallbackRecord)
{
    return DeregisterRecord(&CallbackRecord->Entry, &CallbackRecord->State);
}

/* No lock: the system has stopped, and the lock's holder may be the one who stopped it. */
static VOID RunCallbacks(VOID)
{
    LIST_ENTRY *Entry;
    for (Entry = CallbackList.Flink; Entry && Entry != &CallbackList; Entry = Entry->Flink) {
        KBUGCHECK_CALLBACK_RECORD *Record = CONTAINING_RECORD(Entry, KBUGCHECK_CALLBACK_RECORD, Entry);
        if (Record->State != BufferInserted)
            continue;
        if (Record->Checksum != CallbackChecksum(Record)) {
            Record->State = BufferIncomplete;
            continue;
        }
        Record->State = BufferStarted;
        KI_CALLOUT(VOID, Record->CallbackRoutine, (PVOID, ULONG), (Record->Buffer, Record->Length));
        Record->State = BufferFinished;
    }
    for (Entry = ReasonList.Flink; Entry && Entry != &ReasonList; Entry = Entry->Flink) {
        KBUGCHECK_REASON_CALLBACK_RECORD *Record = CONTAINING_RECORD(Entry, KBUGCHECK_REASON_CALLBACK_RECORD, Entry);
        KBUGCHECK_SECONDARY_DUMP_DATA Data = {0};
        if (Record->State != BufferInserted || Record->Reason != KbCallbackSecondaryDumpData)
            continue;
        if (Record->Checksum != ReasonChecksum(Record)) {
            Record->State = BufferIncomplete;
            continue;
        }
        Record->State = BufferStarted;
        KI_CALLOUT(VOID, Record->CallbackRoutine, (KBUGCHECK_CALLBACK_REASON, PKBUGCHECK_REASON_CALLBACK_RECORD, PVOID, ULONG),
                   (Record->Reason, Record, &Data, sizeof Data));
        Record->State = BufferFinished;
    }
}

/* After a caught stop: the next one calls the same records. */
static VOID RearmCallbacks(VOID)
{
    LIST_ENTRY *Entry;
    for (Entry = CallbackList.Flink; Entry && Entry != &CallbackList; Entry = Entry->Flink)
        CONTAINING_RECORD(Entry, KBUGCHECK_CALLBACK_RECORD, Entry)->State = BufferInserted;
    for (Entry = ReasonList.Flink; Entry && Entry != &ReasonList; Entry = Entry->Flink)
        CONTAINING_RECORD(Entry, KBUGCHECK_REASON_CALLBACK_RECORD, Entry)->State = BufferInserted;
}

/* ---- the stop ---- */

static CHAR *PutHex(CHAR *Out, ULONG_PTR Value, ULONG Digits)
{
    while (Digits-- > 0)
        *Out++ = "0123456789ABCDEF"[(Value >> (4 * Digits)) & 15];
    return Out;
}

static CHAR *PutText(CHAR *Out, const CHAR *Text)
{
    while (*Text)
        *Out++ = *Text++;
    return Out;
}

/* The first two lines of the block, for a stop nobody else can report. */
static VOID PrintHead(const KI_BUGCHECK *Stop)
{
    CHAR Text[256], *Out = Text;
    const CHAR *Name = KiBugCheckName(Stop->Code);
    Out = PutText(Out, "*** STOP: 0x");
    Out = PutHex(Out, Stop->Code, 8);
    for (ULONG I = 0; I < 4; I++) {
        Out = PutText(Out, I ? ",0x" : " (0x");
        Out = PutHex(Out, Stop->Parameters[I], 16);
    }
    Out = PutText(Out, ")\n");
    Out = PutText(Out, Name ? Name : "UNKNOWN_BUG_CHECK");
    *Out++ = '\n';
    HalPrint(Text, (SIZE_T)(Out - Text));
}

static KI_NO_TSAN VOID GoToCatch(PVOID Argument)
{
    KiRestoreJump(&((KI_CATCH *)Argument)->Jump, 1);
}

DECLSPEC_NORETURN VOID KiBugCheck(KI_BUGCHECK *Stop)
{
    KTHREAD *Thread = (KTHREAD *)HalCurrentThread();
    KI_CATCH *Catch = Thread ? Thread->Catch : NULL;
    LONG Id = Thread ? Thread->Id : -1, Owner = 0;
    BOOLEAN First = FALSE;

    Stop->Thread = Thread;
    Stop->Irql = Thread ? Thread->Irql : PASSIVE_LEVEL;
    Stop->Processor = Thread && Thread->Prcb ? Thread->Prcb->Number : 0;
    if (!Catch) {
        First = __atomic_compare_exchange_n(&StopOwner, &Owner, Id, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
        if (!First && Owner != Id)
            for (;;)
                HalWait(&StopOwner, Owner, HAL_FOREVER);
        if (!First) {
            /* The stop itself went wrong, in a callback or in the reporter: say the least, and end. */
            static const CHAR Words[] = "\n  (the report ends here: it stopped itself)\n";
            if (Reporting)
                HalPrint(Words, sizeof Words - 1);
            PrintHead(Stop);
            HalHalt();
        }
    }
    Stop->Callout = Thread ? Thread->Callout : NULL;
    Stop->Trapped = Stop->Context != NULL;
    Stop->FrameCount = HalCaptureStack(Stop->Context, Stop->Frames, KI_STOP_FRAMES, 0);
    HalDenyRevocable(FALSE); /* I4 of irql.c */
    if (Thread)
        Thread->Irql = HIGH_LEVEL;
    if (!Catch || !Catch->Stopping) {
        if (Catch)
            Catch->Stopping = TRUE;
        RunCallbacks();
        if (Catch)
            RearmCallbacks();
    }
    if (Thread)
        Thread->Irql = Stop->Irql;
    if (Catch) {
        *Catch->Stop = *Stop;
        Catch->Stop->Context = NULL;
        KiForgetStack(Catch->Jump.Rsp);
        if (KiMarkStackRoutine)
            KiReturnToMarkRoutine(Catch->Mark, GoToCatch, Catch);
        GoToCatch(Catch);
    }
    /* From here on a fault is the reporter's own: no handler of the driver's may see it. */
    if (Thread)
        Thread->SehChain = NULL;
    KiForeignDispatch = NULL;
    Reporting = TRUE;
    if (KiReportRoutine)
        KiReportRoutine(Stop);
    else
        PrintHead(Stop);
    HalHalt();
}

DECLSPEC_NORETURN VOID KiStop(ULONG Code, const CHAR *Words, const VOID *Block, ULONG_PTR P1, ULONG_PTR P2, ULONG_PTR P3,
                              ULONG_PTR P4)
{
    KI_BUGCHECK Stop = {.Code = Code, .Parameters = {P1, P2, P3, P4}, .Words = Words, .Block = Block};
    KiBugCheck(&Stop);
}

DECLSPEC_NORETURN VOID KiStopFor(const VOID *Driver, ULONG Code, const CHAR *Words, ULONG_PTR P1, ULONG_PTR P2, ULONG_PTR P3,
                                 ULONG_PTR P4)
{
    KI_BUGCHECK Stop = {.Code = Code, .Parameters = {P1, P2, P3, P4}, .Words = Words, .Driver = Driver};
    KiBugCheck(&Stop);
}

NTKERNELAPI DECLSPEC_NORETURN VOID KeBugCheckEx(ULONG BugCheckCode, ULONG_PTR BugCheckParameter1, ULONG_PTR BugCheckParameter2,
                                                ULONG_PTR BugCheckParameter3, ULONG_PTR BugCheckParameter4)
{
    KiCurrentThread();
    KiStop(BugCheckCode, NULL, NULL, BugCheckParameter1, BugCheckParameter2, BugCheckParameter3, BugCheckParameter4);
}

NTKERNELAPI DECLSPEC_NORETURN VOID KeBugCheck(ULONG BugCheckCode)
{
    KiCurrentThread();
    KiStop(BugCheckCode, NULL, NULL, 0, 0, 0, 0);
}

/* ---- catching one ---- */

VOID KiUnwindCatches(ULONG_PTR Stack)
{
    KTHREAD *Thread = KiCurrentThread();
    while (Thread->Catch && (ULONG_PTR)Thread->Catch < Stack)
        Thread->Catch = Thread->Catch->Outer;
}

/* Not instrumented: Catch is compared with stack addresses. */
__attribute__((no_sanitize("address"))) BOOLEAN KiCatch(VOID (*Function)(PVOID), PVOID Argument, KI_BUGCHECK *Stop)
{
    KTHREAD *Thread = KiCurrentThread();
    KI_CATCH Catch = {.Outer = Thread->Catch, .Stop = Stop};
    /* What a stop may leave changed; volatile because the second return of KiSaveJump must see them. */
    struct _NTMM_SEH_FRAME *volatile SehChain = Thread->SehChain;
    KI_SEH_STATE Seh = Thread->Seh; /* not changed after, so the second return sees it */
    volatile KIRQL Irql = Thread->Irql;
    volatile LONG Critical = Thread->CriticalRegion, Guarded = Thread->GuardedRegion;
    volatile UCHAR SpinLocks = Thread->SpinLocksHeld;
    volatile KPROCESSOR_MODE Mode = Thread->PreviousMode;
    struct _KPROCESS *volatile Process = Thread->Process, *volatile Attached = Thread->AttachedProcess;
    PHAL_ADDRESS_SPACE volatile Space = Thread->Space;
    volatile BOOLEAN UserRights = Thread->UserRights;

    Thread->Catch = &Catch;
    if (KiMarkStackRoutine)
        KiMarkStackRoutine(Catch.Mark);
    if (KiSaveJump(&Catch.Jump) == 0) {
        Function(Argument);
        Thread->Catch = Catch.Outer;
        return TRUE;
    }
    Thread = KiCurrentThread();
    Thread->Catch = Catch.Outer;
    Thread->SehChain = SehChain;
    Thread->Seh = Seh;
    Thread->CriticalRegion = Critical;
    Thread->GuardedRegion = Guarded;
    Thread->SpinLocksHeld = SpinLocks;
    KiTellLockWatch(KiLockThreadCaught, KiNoLock, NULL, Thread);
    Thread->PreviousMode = Mode;
    Thread->Process = Process;
    Thread->AttachedProcess = Attached;
    KiSwitchSpace(Space);
    Thread->UserRights = UserRights;
    HalSetUserMode(UserRights);
    KiAbandonLocks();
    KiRestoreIrql(Irql);
    return FALSE;
}

BOOLEAN KiIsStopping(VOID)
{
    return __atomic_load_n(&StopOwner, __ATOMIC_ACQUIRE) != 0;
}
