/*
 * image.c - cases of the detection matrix: a driver binary (tests/sys/sinner.c) that is unloaded, and what it leaves behind.
 * SPDX-License-Identifier: MIT
 */
#include "matrix.h"
#include "ldr/ldr.h"

static LDR_IMAGE *Image;
static void Load(void)
{
    CHAR Error[LDR_ERROR_CHARS] = "";
    BOOLEAN Entered;
    if (LdrLoadImage(NTMM_SYS "/sinner.sys", NULL, 0, &Image, Error, sizeof Error) != STATUS_SUCCESS ||
        LdrStartDriver(Image, &Entered, Error, sizeof Error) != STATUS_SUCCESS) {
        fprintf(stderr, "sinner.sys: %s\n", Error);
        exit(3);
    }
}
static PVOID Export(const char *Name)
{
    return LdrFindExport(Image, Name);
}
static void Unload(void)
{
    LdrStopDriver(Image, NULL);
    LdrUnloadImage(Image);
}

SIN(CE)
{
    Load();
    PUCHAR Data = Export("Data");
    Unload();
    Expect(0xCE, P(Data) + 8, Argument, ANY, 0);
    if (Argument)
        *(volatile UCHAR *)(Data + 8) = 1;
    else
        Sink = *(volatile UCHAR *)(Data + 8);
}
SIN(CE_run) /* a work item left behind */
{
    static WORK_QUEUE_ITEM Item;
    Load();
    PVOID Routine = Export("DpcRoutine");
    Unload();
    Expect(0xCE, P(Routine), 0, P(Routine), 0);
    ExInitializeWorkItem(&Item, (PWORKER_THREAD_ROUTINE)Routine, NULL);
    ExQueueWorkItem(&Item, DelayedWorkQueue);
    LARGE_INTEGER Long = {.QuadPart = -300000000};
    KeDelayExecutionThread(KernelMode, FALSE, &Long);
}
SIN(D4)
{
    Load();
    PUCHAR Data = Export("Data");
    Unload();
    Raise(DISPATCH_LEVEL);
    Expect(0xD4, P(Data), DISPATCH_LEVEL, Argument, ANY);
    if (Argument)
        *(volatile UCHAR *)Data = 1;
    else
        Sink = *(volatile UCHAR *)Data;
}
RIGHT(image) /* loaded, used, unloaded, again */
{
    for (int Round = 0; Round < 3; Round++) {
        Load();
        PUCHAR Data = Export("Data");
        KIRQL Old = Raise(DISPATCH_LEVEL);
        Data[8] = 1;
        KeLowerIrql(Old);
        Unload();
    }
}
SIN(C7_0)
{
    LARGE_INTEGER Late = {.QuadPart = -10000000LL * 1000};
    Load();
    PKTIMER Timer = Export("Data");
    KeInitializeTimer(Timer);
    KeSetTimer(Timer, Late, NULL);
    Expect(0xC7, 0, P(Timer), P(Image->Base), P(Image->Base) + Image->Size);
    Unload();
}
RIGHT(C7_image)
{
    LARGE_INTEGER Late = {.QuadPart = -10000000LL * 1000};
    Load();
    PKTIMER Timer = Export("Data");
    KeInitializeTimer(Timer);
    KeSetTimer(Timer, Late, NULL);
    KeCancelTimer(Timer);
    KeFlushQueuedDpcs();
    Unload();
}
/* A thread that keeps its processor, with a DPC queued to it. */
static KDPC Dpc;
static PKDPC Queued;
static volatile LONG Holding;
static VOID Hold(PVOID Unused)
{
    KIRQL Old = Raise(DISPATCH_LEVEL);
    (void)Unused;
    KeInsertQueueDpc(Queued, NULL, NULL);
    __atomic_store_n(&Holding, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&Holding, __ATOMIC_ACQUIRE))
        YieldProcessor();
    KeLowerIrql(Old);
    PsTerminateSystemThread(STATUS_SUCCESS);
}
SIN(C7_dpc) /* 1: the object is in the image, 2: its routine is */
{
    HANDLE Thread;
    LARGE_INTEGER Short = {.QuadPart = -10000};
    Load();
    PVOID Routine = Export("DpcRoutine");
    Queued = Argument == 1 ? Export("Data") : &Dpc;
    KeInitializeDpc(Queued, Argument == 1 ? (PKDEFERRED_ROUTINE)NULL : (PKDEFERRED_ROUTINE)Routine, NULL);
    PsCreateSystemThread(&Thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, Hold, NULL);
    while (!__atomic_load_n(&Holding, __ATOMIC_ACQUIRE))
        KeDelayExecutionThread(KernelMode, FALSE, &Short);
    Expect(0xC7, Argument, Argument == 1 ? P(Queued) : P(Routine), P(Image->Base), P(Image->Base) + Image->Size);
    Unload();
}
SIN(CB)
{
    PMDL Mdl = IoAllocateMdl(NonPaged(3 * PAGE_SIZE), 3 * PAGE_SIZE, FALSE, FALSE, NULL);
    Load();
    KI_CALLOUT(VOID, (VOID(*)(PMDL))Export("Lock"), (PMDL), (Mdl));
    if (Argument == 0)
        MmUnlockPages(Mdl);
    else
        Expect(0xCB, ANY, 0, P(Mdl), 3);
    Unload();
}
RIGHT(CB)
{
    Argument = 0;
    Sin_CB();
}
static int32_t UserPages(void *Place)
{
    SIZE_T Size = 0x4000;
    *(PVOID *)Place = NULL;
    return ZwAllocateVirtualMemory(NtCurrentProcess(), Place, 0, &Size, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
}
SIN(CB_process)
{
    ntmm_process *Process;
    PEPROCESS Object;
    KAPC_STATE State;
    PVOID Base;
    int32_t Result;
    ntmm_process_create("user.exe", &Process);
    ntmm_process_run(Process, UserPages, &Base, &Result);
    PsLookupProcessByProcessId((HANDLE)(ULONG_PTR)ntmm_process_id(Process), &Object);
    KeStackAttachProcess(Object, &State);
    PMDL Mdl = IoAllocateMdl(Base, 2 * PAGE_SIZE, FALSE, FALSE, NULL);
    MmProbeAndLockPages(Mdl, UserMode, IoWriteAccess);
    if (Argument == 0)
        MmUnlockPages(Mdl);
    else
        Expect(0xCB, ANY, 0, P(Mdl), 2);
    KeUnstackDetachProcess(&State);
    ObDereferenceObject(Object);
    ntmm_process_end(Process, 0);
}
RIGHT(CB_process)
{
    Argument = 0;
    Sin_CB_process();
}
SIN(C4_61)
{
    Load();
    *(volatile LONG *)Export("Allocates") = 1;
    Expect(0xC4, 0x61, ANY, ANY, ANY);
    Unload();
}
SIN(C4_F0)
{
    PUCHAR B = NonPaged(100);
    Load();
    Expect(0xC4, 0xF0, P(B) + 8, P(B), 16);
    KI_CALLOUT(PVOID, (PVOID(*)(PVOID, const VOID *, SIZE_T))Export("Copy"), (PVOID, const VOID *, SIZE_T), (B + 8, B, 16));
}
RIGHT(C4_F0)
{
    PUCHAR B = NonPaged(100);
    Load();
    KI_CALLOUT(PVOID, (PVOID(*)(PVOID, const VOID *, SIZE_T))Export("Copy"), (PVOID, const VOID *, SIZE_T), (B + 16, B, 16));
    KI_CALLOUT(PVOID, (PVOID(*)(PVOID, const VOID *, SIZE_T))Export("Copy"), (PVOID, const VOID *, SIZE_T), (B, B, 16));
    Unload();
}

/* ---- a heap whose commit routine is the driver's ---- */
static bool UseHeap(LONG TooMuch)
{
    Load();
    *(volatile LONG *)Export("TooMuch") = TooMuch;
    PUCHAR Base = NonPaged(8 * PAGE_SIZE);
    if (TooMuch)
        Expect(0x13A, 0x15, P(Base), P(Base) + 4 * PAGE_SIZE + (1 << 20), 0);
    bool Right = KI_CALLOUT(BOOLEAN, (BOOLEAN(*)(PVOID, SIZE_T, SIZE_T))Export("UseHeap"), (PVOID, SIZE_T, SIZE_T),
                            (Base, 8 * PAGE_SIZE, 3 * PAGE_SIZE + 100));
    Unload();
    return Right;
}
SIN(heap)
{
    UseHeap(1);
}
SIN(heap_left)
{
    Load();
    *(volatile LONG *)Export("KeepsHeap") = 1;
    if (!KI_CALLOUT(BOOLEAN, (BOOLEAN(*)(PVOID, SIZE_T, SIZE_T))Export("UseHeap"), (PVOID, SIZE_T, SIZE_T),
                    (NonPaged(8 * PAGE_SIZE), 8 * PAGE_SIZE, 3 * PAGE_SIZE)))
        return;
    Expect(0xC4, 0x62, ANY, ANY, 1);
    Unload();
}
RIGHT(heap)
{
    if (!UseHeap(0))
        exit(3);
}

CASES(Image){"0xCE", "", Sin_CE, Right_image, 0}, {"0xCE", "", Sin_CE, NULL, 1}, {"0xCE", "", Sin_CE_run, NULL, 0},
    {"0xD4", "", Sin_D4, Right_image, 0}, {"0xD4", "", Sin_D4, NULL, 1},
    {"0xC7/0x0", "verifier=misc", Sin_C7_0, Right_C7_image, 0}, {"0xC7/0x1", "verifier=misc", Sin_C7_dpc, Right_C7_image, 1},
    {"0xC7/0x2", "verifier=misc", Sin_C7_dpc, Right_C7_image, 2}, {"0xCB", "verifier=pool_tracking", Sin_CB, Right_CB, 1},
    {"0xCB", "verifier=pool_tracking", Sin_CB_process, Right_CB_process, 1},
    {"0xC4/0x61", "verifier=pool_tracking", Sin_C4_61, Right_image, 0},
    {"0xC4/0xF0", "verifier=misc", Sin_C4_F0, Right_C4_F0, 0},
    {"0x13A/0x15", "verifier=pool_tracking", Sin_heap, Right_heap, 0},
    {"0xC4/0x62", "verifier=pool_tracking", Sin_heap_left, Right_heap, 0}, END_CASES(Image)
