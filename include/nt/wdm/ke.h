/*
 * ke.h - the kernel layer's driver-visible face: IRQL, dispatcher objects, spin locks, timers, DPCs, contexts.
 * SPDX-License-Identifier: MIT
 */
#ifndef _NTMM_KE_
#define _NTMM_KE_

/* ---- IRQL (x64) and the architecture's constants ---- */
#define PASSIVE_LEVEL  0
#define LOW_LEVEL      0
#define APC_LEVEL      1
#define DISPATCH_LEVEL 2
#define CMCI_LEVEL     5
#define CLOCK_LEVEL    13
#define IPI_LEVEL      14
#define DRS_LEVEL      14
#define POWER_LEVEL    14
#define PROFILE_LEVEL  15
#define HIGH_LEVEL     15

#define PAGE_SIZE                                0x1000
#define PAGE_SHIFT                               12
#define MEMORY_ALLOCATION_ALIGNMENT              16
#define SYSTEM_CACHE_ALIGNMENT_SIZE              64
#define KERNEL_STACK_SIZE                        0x6000
#define KERNEL_LARGE_STACK_SIZE                  0x12000
#define KERNEL_LARGE_STACK_COMMIT                KERNEL_STACK_SIZE
#define MAXIMUM_EXPANSION_SIZE                   (KERNEL_LARGE_STACK_SIZE - (PAGE_SIZE / 2))
#define MAXIMUM_PROCESSORS                       64
#define KI_USER_SHARED_DATA                      0xFFFFF78000000000ULL
#define PAGE_ALIGN(Va)                           ((PVOID)((ULONG_PTR)(Va) & ~(ULONG_PTR)(PAGE_SIZE - 1)))
#define BYTE_OFFSET(Va)                          ((ULONG)((LONG_PTR)(Va) & (PAGE_SIZE - 1)))
#define ROUND_TO_PAGES(Size)                     (((ULONG_PTR)(Size) + PAGE_SIZE - 1) & ~(ULONG_PTR)(PAGE_SIZE - 1))
#define BYTES_TO_PAGES(Size)                     (((Size) >> PAGE_SHIFT) + (((Size) & (PAGE_SIZE - 1)) != 0))
#define COMPUTE_PAGES_SPANNED(Va, Size)          ADDRESS_AND_SIZE_TO_SPAN_PAGES(Va, Size) /* obsolete */
#define ADDRESS_AND_SIZE_TO_SPAN_PAGES(Va, Size) ((BYTE_OFFSET(Va) + ((SIZE_T)(Size)) + (PAGE_SIZE - 1)) >> PAGE_SHIFT)

typedef struct _KTHREAD *PKTHREAD, *PRKTHREAD, *PETHREAD;
typedef struct _KPROCESS *PKPROCESS, *PRKPROCESS, *PEPROCESS;
typedef LONG KPRIORITY, *PKPRIORITY;
typedef ULONG_PTR KIPI_BROADCAST_WORKER(ULONG_PTR Argument);
#define LOW_PRIORITY          0
#define LOW_REALTIME_PRIORITY 16
#define HIGH_PRIORITY         31
#define MAXIMUM_PRIORITY      32

typedef enum _MODE { KernelMode, UserMode, MaximumMode } MODE;
typedef enum _EVENT_TYPE { NotificationEvent, SynchronizationEvent } EVENT_TYPE;
typedef enum _TIMER_TYPE { NotificationTimer, SynchronizationTimer } TIMER_TYPE;
typedef enum _WAIT_TYPE { WaitAll, WaitAny, WaitNotification, WaitDequeue, WaitDpc } WAIT_TYPE;
typedef enum _KWAIT_REASON {
    Executive,
    FreePage,
    PageIn,
    PoolAllocation,
    DelayExecution,
    Suspended,
    UserRequest,
    WrExecutive,
    WrFreePage,
    WrPageIn,
    WrPoolAllocation,
    WrDelayExecution,
    WrSuspended,
    WrUserRequest,
    WrSpare0,
    WrQueue,
    WrLpcReceive,
    WrLpcReply,
    WrVirtualMemory,
    WrPageOut,
    WrRendezvous,
    WrKeyedEvent,
    WrTerminated,
    WrProcessInSwap,
    WrCpuRateControl,
    WrCalloutStack,
    WrKernel,
    WrResource,
    WrPushLock,
    WrMutex,
    WrQuantumEnd,
    WrDispatchInt,
    WrPreempted,
    WrYieldExecution,
    WrFastMutex,
    WrGuardedMutex,
    WrRundown,
    WrAlertByThreadId,
    WrDeferredPreempt,
    WrPhysicalFault,
    WrIoRing,
    WrMdlCache,
    MaximumWaitReason
} KWAIT_REASON;
#define THREAD_WAIT_OBJECTS  3
#define MAXIMUM_WAIT_OBJECTS 64
#define TIMER_TABLE_SIZE     256

/* ---- dispatcher objects ---- */
typedef struct _DISPATCHER_HEADER {
    union {
        volatile LONG Lock;
        LONG LockNV;
        struct {
            UCHAR Type;
            UCHAR Signalling;
            UCHAR Size;
            UCHAR Reserved1;
        };
        struct {
            UCHAR TimerType;
            UCHAR TimerControlFlags;
            UCHAR Hand;
            UCHAR TimerMiscFlags;
        };
        struct {
            UCHAR Timer2Type;
            UCHAR Timer2Flags;
            UCHAR Timer2ComponentId;
            UCHAR Timer2RelativeId;
        };
        struct {
            UCHAR QueueType;
            UCHAR QueueControlFlags;
            UCHAR QueueSize;
            UCHAR QueueReserved;
        };
        struct {
            UCHAR ThreadType;
            UCHAR ThreadReserved;
            UCHAR ThreadControlFlags;
            UCHAR DebugActive;
        };
        struct {
            UCHAR MutantType;
            BOOLEAN MutantReserved;
            UCHAR DpcActive;
            UCHAR MutantReserved2;
        };
    };
    LONG SignalState;
    LIST_ENTRY WaitListHead;
} DISPATCHER_HEADER, *PDISPATCHER_HEADER;
typedef struct _KEVENT {
    DISPATCHER_HEADER Header;
} KEVENT, *PKEVENT, *PRKEVENT;
typedef struct _KSEMAPHORE {
    DISPATCHER_HEADER Header;
    LONG Limit;
} KSEMAPHORE, *PKSEMAPHORE, *PRKSEMAPHORE;
typedef struct _KMUTANT {
    DISPATCHER_HEADER Header;
    LIST_ENTRY MutantListEntry;
    PKTHREAD OwnerThread;
    union {
        UCHAR MutantFlags;
        struct {
            UCHAR Abandoned : 1;
            UCHAR Spare1 : 7;
        };
    };
    UCHAR ApcDisable;
} KMUTANT, *PKMUTANT, *PRKMUTANT, KMUTEX, *PKMUTEX, *PRKMUTEX;
C_ASSERT(sizeof(DISPATCHER_HEADER) == 0x18 && sizeof(KEVENT) == 0x18 && sizeof(KSEMAPHORE) == 0x20);
C_ASSERT(sizeof(KMUTANT) == 0x38 && offsetof(KMUTANT, OwnerThread) == 0x28);

typedef struct _KDPC {
    union {
        ULONG TargetInfoAsUlong;
        struct {
            UCHAR Type;
            UCHAR Importance;
            volatile USHORT Number;
        };
    };
    SINGLE_LIST_ENTRY DpcListEntry;
    KAFFINITY ProcessorHistory;
    VOID(*DeferredRoutine)
    (struct _KDPC *Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2);
    PVOID DeferredContext;
    PVOID SystemArgument1;
    PVOID SystemArgument2;
    PVOID DpcData;
} KDPC, *PKDPC, *PRKDPC;
C_ASSERT(sizeof(KDPC) == 0x40 && offsetof(KDPC, DeferredRoutine) == 0x18 && offsetof(KDPC, DpcData) == 0x38);
typedef VOID KDEFERRED_ROUTINE(struct _KDPC *Dpc, PVOID DeferredContext, PVOID SystemArgument1, PVOID SystemArgument2);
typedef KDEFERRED_ROUTINE *PKDEFERRED_ROUTINE;
typedef enum _KDPC_IMPORTANCE { LowImportance, MediumImportance, HighImportance, MediumHighImportance } KDPC_IMPORTANCE;

typedef struct _KTIMER {
    DISPATCHER_HEADER Header;
    ULARGE_INTEGER DueTime;
    LIST_ENTRY TimerListEntry;
    struct _KDPC *Dpc;
    USHORT Processor;
    USHORT TimerType;
    ULONG Period;
} KTIMER, *PKTIMER, *PRKTIMER;
C_ASSERT(sizeof(KTIMER) == 0x40 && offsetof(KTIMER, Dpc) == 0x30 && offsetof(KTIMER, Period) == 0x3C);

typedef struct _KWAIT_BLOCK {
    LIST_ENTRY WaitListEntry;
    UCHAR WaitType;
    volatile UCHAR BlockState;
    USHORT WaitKey;
    LONG SpareLong;
    union {
        struct _KTHREAD *Thread;
        struct _KQUEUE *NotificationQueue;
        struct _KDPC *Dpc;
    };
    PVOID Object;
    PVOID SparePtr;
} KWAIT_BLOCK, *PKWAIT_BLOCK, *PRKWAIT_BLOCK;
C_ASSERT(sizeof(KWAIT_BLOCK) == 0x30 && offsetof(KWAIT_BLOCK, Object) == 0x20);

typedef VOID KNORMAL_ROUTINE(PVOID NormalContext, PVOID SystemArgument1, PVOID SystemArgument2);
typedef KNORMAL_ROUTINE *PKNORMAL_ROUTINE;
typedef struct _KAPC {
    UCHAR Type;
    UCHAR AllFlags;
    UCHAR Size;
    UCHAR SpareByte1;
    ULONG SpareLong0;
    struct _KTHREAD *Thread;
    LIST_ENTRY ApcListEntry;
    PVOID Reserved[3];
    PVOID NormalContext;
    PVOID SystemArgument1;
    PVOID SystemArgument2;
    CCHAR ApcStateIndex;
    KPROCESSOR_MODE ApcMode;
    BOOLEAN Inserted;
} KAPC, *PKAPC, *PRKAPC;
C_ASSERT(sizeof(KAPC) == 0x58 && offsetof(KAPC, NormalContext) == 0x38 && offsetof(KAPC, Inserted) == 0x52);

typedef struct _KAPC_STATE {
    LIST_ENTRY ApcListHead[MaximumMode];
    struct _KPROCESS *Process;
    UCHAR InProgressFlags;
    BOOLEAN KernelApcPending;
    BOOLEAN UserApcPending;
} KAPC_STATE, *PKAPC_STATE, *PRKAPC_STATE;
C_ASSERT(sizeof(KAPC_STATE) == 0x30 && offsetof(KAPC_STATE, Process) == 0x20);

typedef struct _KSPIN_LOCK_QUEUE {
    struct _KSPIN_LOCK_QUEUE *volatile Next;
    PKSPIN_LOCK volatile Lock;
} KSPIN_LOCK_QUEUE, *PKSPIN_LOCK_QUEUE;
typedef struct _KLOCK_QUEUE_HANDLE {
    KSPIN_LOCK_QUEUE LockQueue;
    KIRQL OldIrql;
} KLOCK_QUEUE_HANDLE, *PKLOCK_QUEUE_HANDLE;
C_ASSERT(sizeof(KLOCK_QUEUE_HANDLE) == 0x18 && offsetof(KLOCK_QUEUE_HANDLE, OldIrql) == 0x10);

typedef struct _KDEVICE_QUEUE {
    CSHORT Type;
    CSHORT Size;
    LIST_ENTRY DeviceListHead;
    KSPIN_LOCK Lock;
    union {
        BOOLEAN Busy;
        struct {
            LONG64 Reserved : 8;
            LONG64 Hint : 56;
        };
    };
} KDEVICE_QUEUE, *PKDEVICE_QUEUE, *PRKDEVICE_QUEUE;
typedef struct _KDEVICE_QUEUE_ENTRY {
    LIST_ENTRY DeviceListEntry;
    ULONG SortKey;
    BOOLEAN Inserted;
} KDEVICE_QUEUE_ENTRY, *PKDEVICE_QUEUE_ENTRY, *PRKDEVICE_QUEUE_ENTRY;
C_ASSERT(sizeof(KDEVICE_QUEUE) == 0x28 && sizeof(KDEVICE_QUEUE_ENTRY) == 0x18);

typedef VOID KSTART_ROUTINE(PVOID StartContext);
typedef KSTART_ROUTINE *PKSTART_ROUTINE;

/* ---- exceptions and contexts ---- */
#define EXCEPTION_NONCONTINUABLE     0x1
#define EXCEPTION_UNWINDING          0x2
#define EXCEPTION_EXIT_UNWIND        0x4
#define EXCEPTION_STACK_INVALID      0x8
#define EXCEPTION_NESTED_CALL        0x10
#define EXCEPTION_TARGET_UNWIND      0x20
#define EXCEPTION_COLLIDED_UNWIND    0x40
#define EXCEPTION_UNWIND             0x66
#define EXCEPTION_MAXIMUM_PARAMETERS 15
typedef struct _EXCEPTION_RECORD {
    NTSTATUS ExceptionCode;
    ULONG ExceptionFlags;
    struct _EXCEPTION_RECORD *ExceptionRecord;
    PVOID ExceptionAddress;
    ULONG NumberParameters;
    ULONG_PTR ExceptionInformation[EXCEPTION_MAXIMUM_PARAMETERS];
} EXCEPTION_RECORD, *PEXCEPTION_RECORD;
C_ASSERT(sizeof(EXCEPTION_RECORD) == 0x98 && offsetof(EXCEPTION_RECORD, ExceptionInformation) == 0x20);

#define CONTEXT_AMD64           0x00100000
#define CONTEXT_CONTROL         (CONTEXT_AMD64 | 0x1)
#define CONTEXT_INTEGER         (CONTEXT_AMD64 | 0x2)
#define CONTEXT_SEGMENTS        (CONTEXT_AMD64 | 0x4)
#define CONTEXT_FLOATING_POINT  (CONTEXT_AMD64 | 0x8)
#define CONTEXT_DEBUG_REGISTERS (CONTEXT_AMD64 | 0x10)
#define CONTEXT_FULL            (CONTEXT_CONTROL | CONTEXT_INTEGER | CONTEXT_FLOATING_POINT)
#define CONTEXT_ALL             (CONTEXT_FULL | CONTEXT_SEGMENTS | CONTEXT_DEBUG_REGISTERS)
typedef struct DECLSPEC_ALIGN(16) _M128A {
    ULONGLONG Low;
    LONGLONG High;
} M128A, *PM128A;
typedef struct DECLSPEC_ALIGN(16) _XSAVE_FORMAT {
    USHORT ControlWord;
    USHORT StatusWord;
    UCHAR TagWord;
    UCHAR Reserved1;
    USHORT ErrorOpcode;
    ULONG ErrorOffset;
    USHORT ErrorSelector;
    USHORT Reserved2;
    ULONG DataOffset;
    USHORT DataSelector;
    USHORT Reserved3;
    ULONG MxCsr;
    ULONG MxCsr_Mask;
    M128A FloatRegisters[8];
    M128A XmmRegisters[16];
    UCHAR Reserved4[96];
} XSAVE_FORMAT, *PXSAVE_FORMAT, XMM_SAVE_AREA32, *PXMM_SAVE_AREA32;
typedef struct DECLSPEC_ALIGN(16) _CONTEXT {
    ULONG64 P1Home, P2Home, P3Home, P4Home, P5Home, P6Home;
    ULONG ContextFlags;
    ULONG MxCsr;
    USHORT SegCs, SegDs, SegEs, SegFs, SegGs, SegSs;
    ULONG EFlags;
    ULONG64 Dr0, Dr1, Dr2, Dr3, Dr6, Dr7;
    ULONG64 Rax, Rcx, Rdx, Rbx, Rsp, Rbp, Rsi, Rdi, R8, R9, R10, R11, R12, R13, R14, R15;
    ULONG64 Rip;
    union {
        XMM_SAVE_AREA32 FltSave;
        struct {
            M128A Header[2];
            M128A Legacy[8];
            M128A Xmm0, Xmm1, Xmm2, Xmm3, Xmm4, Xmm5, Xmm6, Xmm7, Xmm8, Xmm9, Xmm10, Xmm11, Xmm12, Xmm13, Xmm14, Xmm15;
        };
    };
    M128A VectorRegister[26];
    ULONG64 VectorControl;
    ULONG64 DebugControl;
    ULONG64 LastBranchToRip, LastBranchFromRip, LastExceptionToRip, LastExceptionFromRip;
} CONTEXT, *PCONTEXT;
C_ASSERT(sizeof(XSAVE_FORMAT) == 0x200 && sizeof(CONTEXT) == 0x4D0);
C_ASSERT(offsetof(CONTEXT, ContextFlags) == 0x30 && offsetof(CONTEXT, EFlags) == 0x44 && offsetof(CONTEXT, Rax) == 0x78 &&
         offsetof(CONTEXT, Rsp) == 0x98 && offsetof(CONTEXT, Rip) == 0xF8 && offsetof(CONTEXT, FltSave) == 0x100 &&
         offsetof(CONTEXT, Xmm0) == 0x1A0 && offsetof(CONTEXT, VectorRegister) == 0x300 &&
         offsetof(CONTEXT, LastExceptionFromRip) == 0x4C8);
typedef struct _EXCEPTION_POINTERS {
    PEXCEPTION_RECORD ExceptionRecord;
    PCONTEXT ContextRecord;
} EXCEPTION_POINTERS, *PEXCEPTION_POINTERS;

/* ---- bug checks ---- */
typedef enum _KBUGCHECK_CALLBACK_REASON {
    KbCallbackInvalid,
    KbCallbackReserved1,
    KbCallbackSecondaryDumpData,
    KbCallbackDumpIo,
    KbCallbackAddPages,
    KbCallbackSecondaryMultiPartDumpData,
    KbCallbackRemovePages,
    KbCallbackTriageDumpData,
    KbCallbackReserved2,
    KbCallbackReserved3
} KBUGCHECK_CALLBACK_REASON;
typedef enum _KBUGCHECK_BUFFER_DUMP_STATE {
    BufferEmpty,
    BufferInserted,
    BufferStarted,
    BufferFinished,
    BufferIncomplete
} KBUGCHECK_BUFFER_DUMP_STATE;
typedef VOID KBUGCHECK_CALLBACK_ROUTINE(PVOID Buffer, ULONG Length);
typedef KBUGCHECK_CALLBACK_ROUTINE *PKBUGCHECK_CALLBACK_ROUTINE;
typedef struct _KBUGCHECK_CALLBACK_RECORD {
    LIST_ENTRY Entry;
    PKBUGCHECK_CALLBACK_ROUTINE CallbackRoutine;
    PVOID Buffer;
    ULONG Length;
    PUCHAR Component;
    ULONG_PTR Checksum;
    UCHAR State;
} KBUGCHECK_CALLBACK_RECORD, *PKBUGCHECK_CALLBACK_RECORD;

EXTERN_C_START
/* Stops the system with the code and its four parameters. Any IRQL. Does not return. Page: KeBugCheckEx */
NTKERNELAPI DECLSPEC_NORETURN VOID KeBugCheckEx(ULONG BugCheckCode, ULONG_PTR BugCheckParameter1, ULONG_PTR BugCheckParameter2,
                                                ULONG_PTR BugCheckParameter3, ULONG_PTR BugCheckParameter4);
/* KeBugCheckEx with four zeros. Page: KeBugCheck */
NTKERNELAPI DECLSPEC_NORETURN VOID KeBugCheck(ULONG BugCheckCode);
EXTERN_C_END

/* ---- contracts ----
 * Each routine says what it does, the highest IRQL it may be called at ("IRQL <= X"), how it fails, and its page in Microsoft's
 * reference. Objects that a routine is given lie in resident memory unless it says otherwise. Breaking an IRQL rule stops
 * the system; the codes are in src/ke/irql.c, spinlock.c and wait.c. */
typedef struct _PROCESSOR_NUMBER {
    USHORT Group;
    UCHAR Number;
    UCHAR Reserved;
} PROCESSOR_NUMBER, *PPROCESSOR_NUMBER;
typedef struct _GROUP_AFFINITY {
    KAFFINITY Mask;
    USHORT Group;
    USHORT Reserved[3];
} GROUP_AFFINITY, *PGROUP_AFFINITY;
C_ASSERT(sizeof(PROCESSOR_NUMBER) == 4 && sizeof(GROUP_AFFINITY) == 0x10);
#define ALL_PROCESSOR_GROUPS    0xffff
#define INVALID_PROCESSOR_INDEX 0xffffffff
#define IO_NO_INCREMENT         0
#define EVENT_INCREMENT         1
#define SEMAPHORE_INCREMENT     1
#define MUTANT_INCREMENT        1

EXTERN_C_START
/* ---- IRQL ---- */
/* The thread's IRQL. Any IRQL. Page: KeGetCurrentIrql */
NTHALAPI KIRQL KeGetCurrentIrql(VOID);
/* Raises to NewIrql and returns the old level. At DISPATCH_LEVEL and above the thread owns a processor. Lowering with it, or a
 * level above HIGH_LEVEL, is bug check 0xC4/0x30. Page: KeRaiseIrql, KfRaiseIrql */
NTHALAPI KIRQL KfRaiseIrql(KIRQL NewIrql);
/* Lowers to NewIrql, which an earlier raise returned; going below DISPATCH_LEVEL runs the processor's DPCs. Raising with it is
 * bug check 0xC4/0x31. Page: KeLowerIrql */
NTHALAPI VOID KfLowerIrql(KIRQL NewIrql);
NTHALAPI VOID KeLowerIrql(KIRQL NewIrql);
NTHALAPI VOID KeRaiseIrql(KIRQL NewIrql, PKIRQL OldIrql);
#define KeRaiseIrql(NewIrql, OldIrql) (*(OldIrql) = KfRaiseIrql(NewIrql))
#define KeLowerIrql(NewIrql)          KfLowerIrql(NewIrql)
/* IRQL <= DISPATCH_LEVEL. Page: KeRaiseIrqlToDpcLevel */
NTHALAPI KIRQL KeRaiseIrqlToDpcLevel(VOID);
NTHALAPI KIRQL KeRaiseIrqlToSynchLevel(VOID);
/* KeRaiseIrql and KeLowerIrql by other names. Pages: KzRaiseIrql, KzLowerIrql */
FORCEINLINE KIRQL KzRaiseIrql(KIRQL NewIrql)
{
    return KfRaiseIrql(NewIrql);
}
FORCEINLINE VOID KzLowerIrql(KIRQL NewIrql)
{
    KfLowerIrql(NewIrql);
}

/* ---- spin locks ---- one eight-byte word, zero when free; acquiring it twice is bug check 0x0F, releasing what the
 * thread does not hold 0x10 */
/* Any IRQL. Page: KeInitializeSpinLock */
NTKERNELAPI VOID KeInitializeSpinLock(PKSPIN_LOCK SpinLock);
/* Raises to DISPATCH_LEVEL, takes the lock, returns the old IRQL. IRQL <= DISPATCH_LEVEL. Page: KeAcquireSpinLock */
NTKERNELAPI KIRQL KeAcquireSpinLockRaiseToDpc(PKSPIN_LOCK SpinLock);
NTKERNELAPI VOID KeAcquireSpinLock(PKSPIN_LOCK SpinLock, PKIRQL OldIrql);
#define KeAcquireSpinLock(SpinLock, OldIrql) (*(OldIrql) = KeAcquireSpinLockRaiseToDpc(SpinLock))
/* Frees the lock and lowers to NewIrql. IRQL = DISPATCH_LEVEL. Page: KeReleaseSpinLock */
NTKERNELAPI VOID KeReleaseSpinLock(PKSPIN_LOCK SpinLock, KIRQL NewIrql);
/* The same for a caller at DISPATCH_LEVEL or above already. Page: KeAcquireSpinLockAtDpcLevel */
NTKERNELAPI VOID KeAcquireSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock);
NTKERNELAPI VOID KeReleaseSpinLockFromDpcLevel(PKSPIN_LOCK SpinLock);
#define KefAcquireSpinLockAtDpcLevel   KeAcquireSpinLockAtDpcLevel
#define KefReleaseSpinLockFromDpcLevel KeReleaseSpinLockFromDpcLevel
/* FALSE if the lock is held. IRQL >= DISPATCH_LEVEL. Page: KeTryToAcquireSpinLockAtDpcLevel */
NTKERNELAPI BOOLEAN KeTryToAcquireSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock);
/* TRUE if the lock is free. Any IRQL. Page: KeTestSpinLock */
NTKERNELAPI BOOLEAN KeTestSpinLock(PKSPIN_LOCK SpinLock);
/* For DPCs that may be threaded: raise if need be. IRQL <= DISPATCH_LEVEL. Page: KeAcquireSpinLockForDpc */
NTKERNELAPI KIRQL KeAcquireSpinLockForDpc(PKSPIN_LOCK SpinLock);
NTKERNELAPI VOID KeReleaseSpinLockForDpc(PKSPIN_LOCK SpinLock, KIRQL OldIrql);
/* In-stack queued forms; the handle is the caller's and lives until the release. Page: KeAcquireInStackQueuedSpinLock */
NTKERNELAPI VOID KeAcquireInStackQueuedSpinLock(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle);
NTKERNELAPI VOID KeReleaseInStackQueuedSpinLock(PKLOCK_QUEUE_HANDLE LockHandle);
NTKERNELAPI VOID KeAcquireInStackQueuedSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle);
NTKERNELAPI VOID KeReleaseInStackQueuedSpinLockFromDpcLevel(PKLOCK_QUEUE_HANDLE LockHandle);
NTKERNELAPI VOID KeAcquireInStackQueuedSpinLockForDpc(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle);
NTKERNELAPI VOID KeReleaseInStackQueuedSpinLockForDpc(PKLOCK_QUEUE_HANDLE LockHandle);

/* ---- events ---- */
/* Any IRQL. Page: KeInitializeEvent */
NTKERNELAPI VOID KeInitializeEvent(PRKEVENT Event, EVENT_TYPE Type, BOOLEAN State);
/* Signals the event: every waiter of a notification event goes on, one of a synchronization event. Returns the previous state.
 * IRQL <= DISPATCH_LEVEL, with Wait TRUE <= APC_LEVEL; above is bug check 0xC4/0x80. Page: KeSetEvent */
NTKERNELAPI LONG KeSetEvent(PRKEVENT Event, KPRIORITY Increment, BOOLEAN Wait);
/* Returns the previous state. IRQL <= DISPATCH_LEVEL. Page: KeResetEvent */
NTKERNELAPI LONG KeResetEvent(PRKEVENT Event);
NTKERNELAPI VOID KeClearEvent(PRKEVENT Event);
/* Lets the present waiters go and resets. IRQL <= DISPATCH_LEVEL. Page: KePulseEvent */
NTKERNELAPI LONG KePulseEvent(PRKEVENT Event, KPRIORITY Increment, BOOLEAN Wait);
/* Nonzero if signalled. IRQL <= DISPATCH_LEVEL. Page: KeReadStateEvent */
NTKERNELAPI LONG KeReadStateEvent(PRKEVENT Event);

/* ---- semaphores and mutexes ---- */
/* Any IRQL. Page: KeInitializeSemaphore */
NTKERNELAPI VOID KeInitializeSemaphore(PRKSEMAPHORE Semaphore, LONG Count, LONG Limit);
/* Adds Adjustment to the count and returns the previous one; over the limit it raises STATUS_SEMAPHORE_LIMIT_EXCEEDED.
 * IRQL <= DISPATCH_LEVEL. Page: KeReleaseSemaphore */
NTKERNELAPI LONG KeReleaseSemaphore(PRKSEMAPHORE Semaphore, KPRIORITY Increment, LONG Adjustment, BOOLEAN Wait);
NTKERNELAPI LONG KeReadStateSemaphore(PRKSEMAPHORE Semaphore);
/* Level is reserved. Any IRQL. Page: KeInitializeMutex */
NTKERNELAPI VOID KeInitializeMutex(PRKMUTEX Mutex, ULONG Level);
/* Gives back one ownership and returns the previous state (0: it is free now). Not the owner: raises STATUS_MUTANT_NOT_OWNED,
 * or STATUS_ABANDONED. IRQL <= DISPATCH_LEVEL. Page: KeReleaseMutex */
NTKERNELAPI LONG KeReleaseMutex(PRKMUTEX Mutex, BOOLEAN Wait);
/* 1 if free. IRQL <= DISPATCH_LEVEL. Page: KeReadStateMutex */
NTKERNELAPI LONG KeReadStateMutex(PRKMUTEX Mutex);

/* ---- waits ---- */
/* Waits until the object is signalled and takes it. Timeout: NULL for ever, zero only looks, negative relative, positive absolute
 * system time, in 100 ns. STATUS_SUCCESS, STATUS_TIMEOUT, STATUS_ABANDONED_WAIT_0. IRQL <= APC_LEVEL, <= DISPATCH_LEVEL with a
 * zero timeout; else bug check 0xB8 (in a DPC) or 0xC4/0x3B. Page: KeWaitForSingleObject */
NTKERNELAPI NTSTATUS KeWaitForSingleObject(PVOID Object, KWAIT_REASON WaitReason, KPROCESSOR_MODE WaitMode, BOOLEAN Alertable,
                                           PLARGE_INTEGER Timeout);
#define KeWaitForMutexObject KeWaitForSingleObject
/* Waits for any or all of Count objects; STATUS_WAIT_0 + index, STATUS_ABANDONED_WAIT_0 + index. More than THREAD_WAIT_OBJECTS
 * need WaitBlockArray; more than there are blocks for is bug check 0x0C. Page: KeWaitForMultipleObjects */
NTKERNELAPI NTSTATUS KeWaitForMultipleObjects(ULONG Count, PVOID Object[], WAIT_TYPE WaitType, KWAIT_REASON WaitReason,
                                              KPROCESSOR_MODE WaitMode, BOOLEAN Alertable, PLARGE_INTEGER Timeout,
                                              PKWAIT_BLOCK WaitBlockArray);
/* Interval as a Timeout above. STATUS_SUCCESS. IRQL <= APC_LEVEL. Page: KeDelayExecutionThread */
NTKERNELAPI NTSTATUS KeDelayExecutionThread(KPROCESSOR_MODE WaitMode, BOOLEAN Alertable, PLARGE_INTEGER Interval);

/* ---- timers ---- */
/* Any IRQL. Page: KeInitializeTimer */
NTKERNELAPI VOID KeInitializeTimer(PKTIMER Timer);
NTKERNELAPI VOID KeInitializeTimerEx(PKTIMER Timer, TIMER_TYPE Type);
/* Sets the timer off at DueTime (negative: relative, else absolute system time; 100 ns), then every Period milliseconds if that is
 * not 0; queues Dpc each time. TRUE if it was already pending, and so was set anew. IRQL <= DISPATCH_LEVEL. Page: KeSetTimerEx */
NTKERNELAPI BOOLEAN KeSetTimer(PKTIMER Timer, LARGE_INTEGER DueTime, PKDPC Dpc);
NTKERNELAPI BOOLEAN KeSetTimerEx(PKTIMER Timer, LARGE_INTEGER DueTime, LONG Period, PKDPC Dpc);
NTKERNELAPI BOOLEAN KeSetCoalescableTimer(PKTIMER Timer, LARGE_INTEGER DueTime, ULONG Period, ULONG TolerableDelay, PKDPC Dpc);
/* TRUE if the timer was pending. Its DPC may be queued or running all the same: KeFlushQueuedDpcs. IRQL <= DISPATCH_LEVEL.
 * Page: KeCancelTimer */
NTKERNELAPI BOOLEAN KeCancelTimer(PKTIMER Timer);
NTKERNELAPI BOOLEAN KeReadStateTimer(PKTIMER Timer);

/* ---- DPCs ---- */
/* Any IRQL. Page: KeInitializeDpc */
NTKERNELAPI VOID KeInitializeDpc(PRKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine, PVOID DeferredContext);
NTKERNELAPI VOID KeInitializeThreadedDpc(PRKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine, PVOID DeferredContext);
/* Queues the DPC for its processor (the current one unless targeted); FALSE if it is queued already. Any IRQL.
 * Page: KeInsertQueueDpc */
NTKERNELAPI BOOLEAN KeInsertQueueDpc(PRKDPC Dpc, PVOID SystemArgument1, PVOID SystemArgument2);
/* TRUE if it was queued. Any IRQL. Page: KeRemoveQueueDpc */
NTKERNELAPI BOOLEAN KeRemoveQueueDpc(PRKDPC Dpc);
/* The same, and waits until the routine does not run. IRQL PASSIVE_LEVEL to wait. Page: KeRemoveQueueDpcEx */
NTKERNELAPI BOOLEAN KeRemoveQueueDpcEx(PRKDPC Dpc, BOOLEAN WaitIfActive);
/* Returns when every DPC queued before the call has run. IRQL = PASSIVE_LEVEL. Page: KeFlushQueuedDpcs */
NTKERNELAPI VOID KeFlushQueuedDpcs(VOID);
NTKERNELAPI VOID KeSetImportanceDpc(PRKDPC Dpc, KDPC_IMPORTANCE Importance);
NTKERNELAPI VOID KeSetTargetProcessorDpc(PRKDPC Dpc, CCHAR Number);
/* STATUS_INVALID_PARAMETER: no such processor. Any IRQL. Page: KeSetTargetProcessorDpcEx */
NTKERNELAPI NTSTATUS KeSetTargetProcessorDpcEx(PKDPC Dpc, PPROCESSOR_NUMBER ProcNumber);

/* ---- threads ---- */
/* Any IRQL. Page: KeGetCurrentThread */
NTKERNELAPI PKTHREAD KeGetCurrentThread(VOID);
NTKERNELAPI KPRIORITY KeQueryPriorityThread(PKTHREAD Thread);
/* Returns the old priority. The host schedules: the value is kept and reported. IRQL = PASSIVE_LEVEL. Page: KeSetPriorityThread */
NTKERNELAPI KPRIORITY KeSetPriorityThread(PKTHREAD Thread, KPRIORITY Priority);
NTKERNELAPI LONG KeSetBasePriorityThread(PKTHREAD Thread, LONG Increment);
/* Binds the thread to processors for what it does at DISPATCH_LEVEL and above. IRQL <= DISPATCH_LEVEL.
 * Page: KeSetSystemAffinityThreadEx */
NTKERNELAPI VOID KeSetSystemAffinityThread(KAFFINITY Affinity);
NTKERNELAPI KAFFINITY KeSetSystemAffinityThreadEx(KAFFINITY Affinity);
NTKERNELAPI VOID KeRevertToUserAffinityThread(VOID);
NTKERNELAPI VOID KeRevertToUserAffinityThreadEx(KAFFINITY Affinity);
NTKERNELAPI VOID KeSetSystemGroupAffinityThread(PGROUP_AFFINITY Affinity, PGROUP_AFFINITY PreviousAffinity);
NTKERNELAPI VOID KeRevertToUserGroupAffinityThread(PGROUP_AFFINITY PreviousAffinity);
/* Normal kernel APCs off and on again. IRQL <= APC_LEVEL. Leaving what was not entered is bug check 0x01.
 * Page: KeEnterCriticalRegion */
NTKERNELAPI VOID KeEnterCriticalRegion(VOID);
NTKERNELAPI VOID KeLeaveCriticalRegion(VOID);
/* All kernel APCs off and on again. Page: KeEnterGuardedRegion */
NTKERNELAPI VOID KeEnterGuardedRegion(VOID);
NTKERNELAPI VOID KeLeaveGuardedRegion(VOID);
/* TRUE inside a critical or guarded region. IRQL <= DISPATCH_LEVEL. Page: KeAreApcsDisabled */
NTKERNELAPI BOOLEAN KeAreApcsDisabled(VOID);
/* TRUE inside a guarded region or at APC_LEVEL and above. Page: KeAreAllApcsDisabled */
NTKERNELAPI BOOLEAN KeAreAllApcsDisabled(VOID);

/* ---- processors ---- any IRQL */
NTKERNELAPI ULONG KeGetCurrentProcessorNumber(VOID);
/* The system-wide index; *ProcNumber (may be NULL) the group and number. Page: KeGetCurrentProcessorNumberEx */
NTKERNELAPI ULONG KeGetCurrentProcessorNumberEx(PPROCESSOR_NUMBER ProcNumber);
NTKERNELAPI ULONG KeGetCurrentProcessorIndex(VOID);
NTKERNELAPI KAFFINITY KeQueryActiveProcessors(VOID);
NTKERNELAPI ULONG KeQueryActiveProcessorCount(PKAFFINITY ActiveProcessors);
/* 0 for a group that does not exist. Page: KeQueryActiveProcessorCountEx */
NTKERNELAPI ULONG KeQueryActiveProcessorCountEx(USHORT GroupNumber);
NTKERNELAPI ULONG KeQueryMaximumProcessorCount(VOID);
NTKERNELAPI ULONG KeQueryMaximumProcessorCountEx(USHORT GroupNumber);
NTKERNELAPI USHORT KeQueryActiveGroupCount(VOID);
NTKERNELAPI USHORT KeQueryMaximumGroupCount(VOID);
NTKERNELAPI KAFFINITY KeQueryGroupAffinity(USHORT GroupNumber);
/* STATUS_INVALID_PARAMETER; INVALID_PROCESSOR_INDEX. Page: KeGetProcessorNumberFromIndex */
NTKERNELAPI NTSTATUS KeGetProcessorNumberFromIndex(ULONG ProcIndex, PPROCESSOR_NUMBER ProcNumber);
NTKERNELAPI ULONG KeGetProcessorIndexFromNumber(PPROCESSOR_NUMBER ProcNumber);
/* ---- nodes ---- any IRQL. The option nodes= divides RAM and processors, in order, into as many NUMA nodes. */
/* 0 if there is one. Page: KeQueryHighestNodeNumber */
NTKERNELAPI USHORT KeQueryHighestNodeNumber(VOID);
/* The node of the processor that the caller runs on, or last ran on. Page: KeGetCurrentNodeNumber */
NTKERNELAPI USHORT KeGetCurrentNodeNumber(VOID);
/* Either pointer may be NULL; a node that does not exist has no processors. Page: KeQueryNodeActiveAffinity */
NTKERNELAPI VOID KeQueryNodeActiveAffinity(USHORT NodeNumber, PGROUP_AFFINITY Affinity, PUSHORT Count);
/* The same by processor groups (there is one). STATUS_BUFFER_TOO_SMALL, with the entries needed in *GroupAffinitiesRequired;
 * STATUS_INVALID_PARAMETER: no such node. Page: KeQueryNodeActiveAffinity2 */
NTKERNELAPI NTSTATUS KeQueryNodeActiveAffinity2(USHORT NodeNumber, PGROUP_AFFINITY GroupAffinities, USHORT GroupAffinitiesCount,
                                                PUSHORT GroupAffinitiesRequired);
/* 0 for a node that does not exist. Pages: KeQueryNodeActiveProcessorCount, KeQueryNodeMaximumProcessorCount */
NTKERNELAPI ULONG KeQueryNodeActiveProcessorCount(USHORT NodeNumber);
NTKERNELAPI USHORT KeQueryNodeMaximumProcessorCount(USHORT NodeNumber);

/* ---- caches ---- coherent here, among processors and with devices */
/* Returns when no processor's cache holds anything that memory has not; the value is reserved. The second: of a range of addresses, and
 * of whatever else maps the same memory. IRQL <= DISPATCH_LEVEL; above is bug check 0xC4/0xE5.
 * Pages: KeInvalidateAllCaches, KeInvalidateRangeAllCaches */
NTKERNELAPI BOOLEAN KeInvalidateAllCaches(VOID);
NTKERNELAPI VOID KeInvalidateRangeAllCaches(PVOID BaseAddress, ULONG Length);
/* Bytes to which data that processors share is best aligned. Any IRQL. Page: KeGetRecommendedSharedDataAlignment */
NTKERNELAPI ULONG KeGetRecommendedSharedDataAlignment(VOID);
/* Obsolete. */
#define KeGetDcacheFillSize() 1L

/* ---- time ---- any IRQL */
/* 100 ns since 1601-01-01. Page: KeQuerySystemTime */
NTKERNELAPI VOID KeQuerySystemTime(PLARGE_INTEGER CurrentTime);
NTKERNELAPI VOID KeQuerySystemTimePrecise(PLARGE_INTEGER CurrentTime);
/* 100 ns since the system started. Page: KeQueryInterruptTime */
NTKERNELAPI ULONGLONG KeQueryInterruptTime(VOID);
NTKERNELAPI ULONG64 KeQueryInterruptTimePrecise(PULONG64 QpcTimeStamp);
NTKERNELAPI ULONGLONG KeQueryUnbiasedInterruptTime(VOID);
NTKERNELAPI ULONG64 KeQueryUnbiasedInterruptTimePrecise(PULONG64 QpcTimeStamp);
/* Ticks of KeQueryTimeIncrement() x 100 ns. Page: KeQueryTickCount */
NTKERNELAPI VOID KeQueryTickCount(PLARGE_INTEGER CurrentCount);
NTKERNELAPI ULONG KeQueryTimeIncrement(VOID);
/* The counter; *PerformanceFrequency (may be NULL) its rate in Hz. Page: KeQueryPerformanceCounter */
NTKERNELAPI LARGE_INTEGER KeQueryPerformanceCounter(PLARGE_INTEGER PerformanceFrequency);
/* Spins. Page: KeStallExecutionProcessor */
NTHALAPI VOID KeStallExecutionProcessor(ULONG MicroSeconds);

/* ---- the stack ---- */
typedef VOID EXPAND_STACK_CALLOUT(PVOID Parameter);
typedef EXPAND_STACK_CALLOUT *PEXPAND_STACK_CALLOUT;
/* Calls Callout with at least Size bytes of stack; STATUS_SUCCESS, STATUS_NO_MEMORY (no such room on this stack),
 * STATUS_INVALID_PARAMETER_3 (Size above MAXIMUM_EXPANSION_SIZE). IRQL <= APC_LEVEL. The second, without Wait, at DISPATCH_LEVEL too
 * (with it STATUS_INVALID_PARAMETER_4 there). Pages: KeExpandKernelStackAndCallout, KeExpandKernelStackAndCalloutEx */
NTKERNELAPI NTSTATUS KeExpandKernelStackAndCallout(PEXPAND_STACK_CALLOUT Callout, PVOID Parameter, SIZE_T Size);
NTKERNELAPI NTSTATUS KeExpandKernelStackAndCalloutEx(PEXPAND_STACK_CALLOUT Callout, PVOID Parameter, SIZE_T Size, BOOLEAN Wait,
                                                     PVOID Context);
/* Whether the calling thread's stack may leave RAM while it waits with UserMode (the default); FALSE keeps it. Returns whether it was
 * allowed before. A thread that ends while it is not is bug check 0x94. IRQL <= APC_LEVEL. Page: KeSetKernelStackSwapEnable */
NTKERNELAPI BOOLEAN KeSetKernelStackSwapEnable(BOOLEAN Enable);
/* The current stack [*LowLimit, *HighLimit). Any IRQL. Page: IoGetStackLimits */
NTKERNELAPI VOID IoGetStackLimits(PULONG_PTR LowLimit, PULONG_PTR HighLimit);
/* Bytes left. Page: IoGetRemainingStackSize */
NTKERNELAPI ULONG_PTR IoGetRemainingStackSize(VOID);
/* TRUE if the region lies in the current thread's stack. Page: IoWithinStackLimits */
NTKERNELAPI ULONG IoWithinStackLimits(ULONG_PTR RegionStart, SIZE_T RegionSize);
EXTERN_C_END

/* ---- queues of entries, with threads that take them ---- */
typedef struct _KQUEUE {
    DISPATCHER_HEADER Header;
    LIST_ENTRY EntryListHead;
    volatile ULONG CurrentCount;
    ULONG MaximumCount;
    LIST_ENTRY ThreadListHead;
} KQUEUE, *PKQUEUE, *PRKQUEUE;
C_ASSERT(sizeof(KQUEUE) == 0x40 && offsetof(KQUEUE, MaximumCount) == 0x2C);
EXTERN_C_START
/* Count (how many threads should run at once) is kept and not enforced. IRQL = PASSIVE_LEVEL. Page: KeInitializeQueue */
NTKERNELAPI VOID KeInitializeQueue(PRKQUEUE Queue, ULONG Count);
/* At the tail; returns how many entries there were. IRQL <= DISPATCH_LEVEL. Page: KeInsertQueue, KeInsertHeadQueue */
NTKERNELAPI LONG KeInsertQueue(PRKQUEUE Queue, PLIST_ENTRY Entry);
NTKERNELAPI LONG KeInsertHeadQueue(PRKQUEUE Queue, PLIST_ENTRY Entry);
/* The first entry; (PLIST_ENTRY)STATUS_TIMEOUT if none came in time. IRQL as of KeWaitForSingleObject. Page: KeRemoveQueue */
NTKERNELAPI PLIST_ENTRY KeRemoveQueue(PRKQUEUE Queue, KPROCESSOR_MODE WaitMode, PLARGE_INTEGER Timeout);
/* Several at once; returns how many, or a status in their place. */
NTKERNELAPI ULONG KeRemoveQueueEx(PKQUEUE Queue, KPROCESSOR_MODE WaitMode, BOOLEAN Alertable, PLARGE_INTEGER Timeout,
                                  PLIST_ENTRY *EntryArray, ULONG Count);
NTKERNELAPI LONG KeReadStateQueue(PRKQUEUE Queue);
/* Takes all entries out and returns the first of them, linked in a ring; NULL if there are none. Page: KeRundownQueue */
NTKERNELAPI PLIST_ENTRY KeRundownQueue(PRKQUEUE Queue);
EXTERN_C_END

/* ---- floating point and vector state ---- threads keep theirs: nothing to save, success always. Page: KeSaveExtendedProcessorState */
typedef struct _XSTATE_SAVE {
    ULONG64 Mask;
    PVOID Reserved[6];
} XSTATE_SAVE, *PXSTATE_SAVE;
C_ASSERT(sizeof(XSTATE_SAVE) == 0x38);
typedef struct _KFLOATING_SAVE {
    ULONG Dummy;
} KFLOATING_SAVE, *PKFLOATING_SAVE;
#define KeSaveFloatingPointState(FloatSave)    (((void)(FloatSave)), STATUS_SUCCESS)
#define KeRestoreFloatingPointState(FloatSave) (((void)(FloatSave)), STATUS_SUCCESS)
EXTERN_C_START
NTKERNELAPI NTSTATUS KeSaveExtendedProcessorState(ULONG64 Mask, PXSTATE_SAVE XStateSave);
NTKERNELAPI VOID KeRestoreExtendedProcessorState(PXSTATE_SAVE XStateSave);
/* Local time is UTC here. Any IRQL. Page: ExSystemTimeToLocalTime */
NTKERNELAPI VOID ExSystemTimeToLocalTime(PLARGE_INTEGER SystemTime, PLARGE_INTEGER LocalTime);
NTKERNELAPI VOID ExLocalTimeToSystemTime(PLARGE_INTEGER LocalTime, PLARGE_INTEGER SystemTime);
EXTERN_C_END

/* ---- debug output ---- */
#define DPFLTR_ERROR_LEVEL     0
#define DPFLTR_WARNING_LEVEL   1
#define DPFLTR_TRACE_LEVEL     2
#define DPFLTR_INFO_LEVEL      3
#define DPFLTR_MASK            0x80000000
#define DPFLTR_SYSTEM_ID       0
#define DPFLTR_IHVDRIVER_ID    77
#define DPFLTR_IHVVIDEO_ID     78
#define DPFLTR_IHVAUDIO_ID     79
#define DPFLTR_IHVNETWORK_ID   80
#define DPFLTR_IHVSTREAMING_ID 81
#define DPFLTR_IHVBUS_ID       82
#define DPFLTR_DEFAULT_ID      101
EXTERN_C_START
/* Formats to the console, up to 512 bytes at a time. IRQL <= DIRQL; with %C, %S, %lc, %ls, %wZ text PASSIVE_LEVEL.
 * STATUS_SUCCESS. Page: DbgPrint */
NTSYSAPI ULONG __cdecl DbgPrint(PCSTR Format, ...);
/* The same if the component's filter lets Level through: always levels 0, and what DbgSetDebugFilterState enables.
 * Page: DbgPrintEx */
NTSYSAPI ULONG __cdecl DbgPrintEx(ULONG ComponentId, ULONG Level, PCSTR Format, ...);
NTSYSAPI ULONG vDbgPrintEx(ULONG ComponentId, ULONG Level, PCCH Format, va_list arglist);
NTSYSAPI ULONG vDbgPrintExWithPrefix(PCCH Prefix, ULONG ComponentId, ULONG Level, PCCH Format, va_list arglist);
/* Lets a component's level through, or not; asks. STATUS_INVALID_PARAMETER_1: no such component. */
NTSYSAPI NTSTATUS DbgSetDebugFilterState(ULONG ComponentId, ULONG Level, BOOLEAN State);
NTSYSAPI NTSTATUS DbgQueryDebugFilterState(ULONG ComponentId, ULONG Level);
/* There is no debugger. Page: KD_DEBUGGER_NOT_PRESENT */
extern NTKERNELAPI PBOOLEAN KdDebuggerEnabled;
extern NTKERNELAPI PBOOLEAN KdDebuggerNotPresent;
#define KD_DEBUGGER_ENABLED     (*KdDebuggerEnabled)
#define KD_DEBUGGER_NOT_PRESENT (*KdDebuggerNotPresent)
/* Breaks into the debugger; there is none: an exception of STATUS_BREAKPOINT. Page: DbgBreakPoint */
NTSYSAPI VOID DbgBreakPoint(VOID);
NTSYSAPI VOID DbgBreakPointWithStatus(ULONG Status);
/* Prints the failed assertion and breaks. Page: ASSERT */
NTSYSAPI VOID RtlAssert(PVOID VoidFailedAssertion, PVOID VoidFileName, ULONG LineNumber, PSTR MutableMessage);
EXTERN_C_END

/* A checked build (DBG) of a driver prints and asserts; a free one does not evaluate the expression (NT_VERIFY does, in both).
 * Pages: KdPrint, ASSERT, NT_ASSERT, PAGED_CODE */
#ifndef DBG
#define DBG 0
#endif
FORCEINLINE BOOLEAN NtmmAssert(BOOLEAN Holds, const CHAR *Expression, const CHAR *FileName, ULONG LineNumber,
                               const CHAR *Message)
{
    if (!Holds)
        RtlAssert((PVOID)Expression, (PVOID)FileName, LineNumber, (PSTR)Message);
    return Holds;
}
#define NTMM_ASSERT_THAT(Expression, Text, Message) NtmmAssert((Expression) ? TRUE : FALSE, Text, __FILE__, __LINE__, Message)
#if DBG
#define KdPrint(Arguments)   DbgPrint Arguments
#define KdPrintEx(Arguments) DbgPrintEx Arguments
#define KdBreakPoint()       DbgBreakPoint()
#ifndef ASSERT
#define ASSERT(Expression)             NTMM_ASSERT_THAT(Expression, #Expression, NULL)
#define ASSERTMSG(Message, Expression) NTMM_ASSERT_THAT(Expression, #Expression, Message)
#endif
#define NT_ASSERT(Expression)             NTMM_ASSERT_THAT(Expression, #Expression, NULL)
#define NT_ASSERTMSG(Message, Expression) NTMM_ASSERT_THAT(Expression, #Expression, Message)
/* Asserts that paging is possible: IRQL <= APC_LEVEL. */
#define PAGED_CODE() NTMM_ASSERT_THAT(KeGetCurrentIrql() <= APC_LEVEL, "PAGED_CODE: IRQL <= APC_LEVEL", NULL)
#else
#define KdPrint(Arguments)   ((void)0)
#define KdPrintEx(Arguments) ((void)0)
#define KdBreakPoint()       ((void)0)
#ifndef ASSERT
#define ASSERT(Expression)             ((void)0)
#define ASSERTMSG(Message, Expression) ((void)0)
#endif
#define NT_ASSERT(Expression)             ((void)0)
#define NT_ASSERTMSG(Message, Expression) ((void)0)
#define PAGED_CODE()                      ((void)0)
#endif
#define PAGED_CODE_LOCKED()
#define NT_VERIFY(Expression)             NTMM_ASSERT_THAT(Expression, #Expression, NULL)
#define NT_VERIFYMSG(Message, Expression) NTMM_ASSERT_THAT(Expression, #Expression, Message)
#define NT_ASSERT_ASSUME(Expression)      NT_ASSERT(Expression)
#define NT_FRE_ASSERT(Expression)         NTMM_ASSERT_THAT(Expression, #Expression, NULL)
#define RTL_VERIFY                        NT_VERIFY
#define RTL_SOFT_VERIFY                   NT_VERIFY
#define RTL_SOFT_ASSERT                   NT_ASSERT
#define PAGED_ASSERT(Expression)          NT_ASSERT(Expression)

#endif
