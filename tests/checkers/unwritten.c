/*
 * unwritten.c - what the memory sanitizer is shown: a driver that uses bytes which nobody has written, each kind of memory in turn;
 * or one that uses bytes which were written in every way that the sanitizer's instrumentation cannot see.
 * SPDX-License-Identifier: MIT
 *
 *     unwritten good | KIND [OFFSET]
 *
 * The good one wants NTMM_OPTIONS with little RAM, a page file and a drive.
 */
#include <ntifs.h>
#include <ntmm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG 'rwnU'

static int Failed;
#define CHECK(Condition)                                                                                                       \
    do {                                                                                                                       \
        if (!(Condition)) {                                                                                                    \
            Failed = 1;                                                                                                        \
            fprintf(stderr, "unwritten.c:%d: not so: %s\n", __LINE__, #Condition);                                             \
        }                                                                                                                      \
    } while (0)
#define NOINLINE __attribute__((noinline))

/* ---- sins ---- */
static volatile ULONG Sink;

static NOINLINE void Use(const UCHAR *Block, SIZE_T Offset)
{
    if (Block[Offset] == 7) /* the line */
        Sink = 1;
}

static NOINLINE PUCHAR Copied(void)
{
    PUCHAR From = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED, 64, TAG); /* made: copied */
    PUCHAR To = ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, TAG);
    RtlCopyMemory(To, From, 64);
    return To;
}

static NOINLINE void Fill(PUCHAR Block)
{
    for (ULONG Index = 0; Index < 64; Index++)
        Block[Index] = 3;
}

static NOINLINE PUCHAR EntryAgain(void)
{
    static LOOKASIDE_LIST_EX List;
    CHECK(ExInitializeLookasideListEx(&List, NULL, NULL, NonPagedPoolNx, 0, 64, TAG, 0) == STATUS_SUCCESS);
    PUCHAR Entry = ExAllocateFromLookasideListEx(&List);
    Fill(Entry);
    ExFreeToLookasideListEx(&List, Entry);
    PUCHAR Again = ExAllocateFromLookasideListEx(&List); /* made: list-again */
    CHECK(Again == Entry);
    return Again;
}

static NOINLINE PUCHAR Entry(BOOLEAN Paged, BOOLEAN Free)
{
    static NPAGED_LOOKASIDE_LIST Resident;
    static PAGED_LOOKASIDE_LIST Pageable;
    PUCHAR Block;
    ExInitializeNPagedLookasideList(&Resident, NULL, NULL, POOL_NX_ALLOCATION, 64, TAG, 0);
    ExInitializePagedLookasideList(&Pageable, NULL, NULL, 0, 64, TAG, 0);
    if (Paged)
        return ExAllocateFromPagedLookasideList(&Pageable); /* made: paged-list */
    Block = ExAllocateFromNPagedLookasideList(&Resident);   /* made: list */
    if (Free) {
        Fill(Block);
        ExFreeToNPagedLookasideList(&Resident, Block);
    }
    return Block;
}

static NOINLINE PUCHAR Freed(POOL_FLAGS Flags, SIZE_T Bytes)
{
    PUCHAR Block = ExAllocatePool2(Flags, Bytes, TAG);
    Fill(Block);
    ExFreePoolWithTag(Block, TAG); /* made: freed large-freed */
    return Block;
}

static NOINLINE void Argument(void)
{
    ULONG Local[4];
    Local[0] = Sink;                                          /* the others: nobody */
    Sink = RtlNumberOfSetBitsUlongPtr(Local[1 + (Sink & 1)]); /* passed: argument */
}

static NOINLINE void Header(void)
{
    KEVENT Event; /* made: event */
    (void)KeReadStateEvent(&Event);
    KeSetEvent(&Event, IO_NO_INCREMENT, FALSE);
}

static int Sin(const char *Kind, SIZE_T Offset)
{
    PHYSICAL_ADDRESS Any = {.QuadPart = -1};
    PUCHAR Block = NULL;
    UCHAR Local[64];
    if (strcmp(Kind, "pool") == 0)
        Block = ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_UNINITIALIZED, 64, TAG); /* made: pool */
    else if (strcmp(Kind, "with-tag") == 0)
        Block = ExAllocatePoolWithTag(NonPagedPoolNx, 64, TAG); /* made: with-tag */
    else if (strcmp(Kind, "paged") == 0)
        Block = ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_UNINITIALIZED, 300, TAG); /* made: paged */
    else if (strcmp(Kind, "large") == 0)
        Block = ExAllocatePoolWithTag(PagedPool, 20000, TAG); /* made: large */
    else if (strcmp(Kind, "freed") == 0)
        Block = Freed(POOL_FLAG_NON_PAGED, 64);
    else if (strcmp(Kind, "page-freed") == 0)
        Block = Freed(POOL_FLAG_PAGED, 3000);
    else if (strcmp(Kind, "list") == 0)
        Block = Entry(FALSE, FALSE);
    else if (strcmp(Kind, "paged-list") == 0)
        Block = Entry(TRUE, FALSE);
    else if (strcmp(Kind, "list-freed") == 0)
        Block = Entry(FALSE, TRUE);
    else if (strcmp(Kind, "list-again") == 0)
        Block = EntryAgain();
    else if (strcmp(Kind, "contiguous") == 0)
        Block = MmAllocateContiguousMemory(8192, Any); /* made: contiguous */
    else if (strcmp(Kind, "copied") == 0)
        Block = Copied();
    else if (strcmp(Kind, "local") == 0)
        Block = Local;
    else if (strcmp(Kind, "argument") == 0)
        return Argument(), 0;
    else if (strcmp(Kind, "event") == 0)
        return Header(), 0;
    if (Block == NULL)
        return 2;
    Use(Block, Offset);
    return 0;
}

/* ---- the good one ---- */
static NOINLINE BOOLEAN Are(const UCHAR *Bytes, SIZE_T Length, UCHAR Value)
{
    for (SIZE_T Index = 0; Index < Length; Index++)
        if (Bytes[Index] != Value)
            return FALSE;
    return TRUE;
}

static NOINLINE void Zeroed(void)
{
    static const SIZE_T Sizes[] = {1, 16, 64, 100, 1000, 4096, 5000, 70000};
    for (ULONG Index = 0; Index < 2 * ARRAYSIZE(Sizes); Index++) {
        SIZE_T Bytes = Sizes[Index / 2];
        PUCHAR Block = ExAllocatePool2(Index & 1 ? POOL_FLAG_PAGED : POOL_FLAG_NON_PAGED, Bytes, TAG);
        CHECK(Are(Block, Bytes, 0));
        ExFreePoolWithTag(Block, TAG);
        Block = ExAllocatePoolZero(Index & 1 ? PagedPool : NonPagedPoolNx, Bytes, TAG);
        CHECK(Are(Block, Bytes, 0));
        ExFreePoolWithTag(Block, TAG);
        Block = ExAllocatePoolWithTag(NonPagedPoolNx, Bytes, TAG);
        RtlFillMemory(Block, Bytes, 5);
        CHECK(Are(Block, Bytes, 5));
        ExFreePool(Block);
    }
}

/* More than there is RAM: written, out to the page file, and in again. */
static NOINLINE void PagedOut(void)
{
    enum { BLOCKS = 48, BYTES = 1 << 20 };
    static PUCHAR Blocks[BLOCKS];
    for (ULONG Index = 0; Index < BLOCKS; Index++) {
        Blocks[Index] = ExAllocatePoolWithTag(PagedPool, BYTES, TAG);
        CHECK(Blocks[Index] != NULL);
        if (Blocks[Index] == NULL)
            return;
        for (ULONG At = 0; At < BYTES; At += PAGE_SIZE)
            RtlFillMemory(Blocks[Index] + At, 64, (UCHAR)(Index + 1));
    }
    for (ULONG Index = 0; Index < BLOCKS; Index++) {
        for (ULONG At = 0; At < BYTES; At += PAGE_SIZE)
            CHECK(Are(Blocks[Index] + At, 64, (UCHAR)(Index + 1)));
        ExFreePoolWithTag(Blocks[Index], TAG);
    }
}

/* Written by another address, and the addresses then used again. */
static NOINLINE void Aliases(void)
{
    for (ULONG Round = 0; Round < 20; Round++) {
        PUCHAR Block = ExAllocatePoolWithTag(Round & 1 ? PagedPool : NonPagedPoolNx, 6000, TAG);
        PMDL Mdl = IoAllocateMdl(Block, 6000, FALSE, FALSE, NULL);
        if (Round & 1)
            MmProbeAndLockPages(Mdl, KernelMode, IoWriteAccess);
        else
            MmBuildMdlForNonPagedPool(Mdl);
        PUCHAR Other = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority | MdlMappingNoExecute);
        RtlFillMemory(Other, 6000, 9);
        CHECK(Are(Block, 6000, 9));
        if (Round & 1)
            MmUnlockPages(Mdl);
        IoFreeMdl(Mdl);
        ExFreePoolWithTag(Block, TAG);
    }
    for (ULONG Round = 0; Round < 20; Round++) { /* what was never written, seen through a mapping, and its addresses again */
        PHYSICAL_ADDRESS Low = {.QuadPart = 0}, High = {.QuadPart = -1};
        PMDL Mdl = MmAllocatePagesForMdlEx(Low, High, Low, 8192, MmCached, 0);
        PUCHAR View = MmMapLockedPagesSpecifyCache(Mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority);
        CHECK(Are(View, 8192, 0));
        PUCHAR Garbage = ExAllocatePoolWithTag(NonPagedPoolNx, 512, TAG);
        RtlCopyMemory(View, Garbage, 512);
        ExFreePoolWithTag(Garbage, TAG);
        MmUnmapLockedPages(View, Mdl);
        MmFreePagesFromMdl(Mdl);
        ExFreePool(Mdl);
    }
}

/* A device: into a common buffer, into contiguous memory, into a locked buffer. */
typedef struct _JOB {
    PHYSICAL_ADDRESS Where;
    ULONG Length;
} JOB;
static void DeviceWrites(ntmm_device *Hardware, void *Context)
{
    const JOB *Job = Context;
    UCHAR Bytes[256];
    memset(Bytes, 0x44, sizeof(Bytes));
    ntmm_device_write(Hardware, (uint64_t)Job->Where.QuadPart, Bytes, Job->Length);
}
static NOINLINE void ByDevice(void)
{
    static DEVICE_OBJECT Device;
    DEVICE_DESCRIPTION Description = {.Version = DEVICE_DESCRIPTION_VERSION,
                                      .Master = TRUE,
                                      .ScatterGather = TRUE,
                                      .Dma64BitAddresses = TRUE,
                                      .InterfaceType = PCIBus,
                                      .MaximumLength = 65536};
    ULONG Registers;
    PHYSICAL_ADDRESS Highest = {.QuadPart = -1};
    JOB Job = {.Length = 256};
    ntmm_device *Hardware = ntmm_device_create(&Device);
    PDMA_ADAPTER Adapter = IoGetDmaAdapter(&Device, &Description, &Registers);
    PUCHAR Common = Adapter->DmaOperations->AllocateCommonBuffer(Adapter, 4096, &Job.Where, TRUE);
    ntmm_device_post(Hardware, DeviceWrites, &Job);
    ntmm_device_wait(Hardware);
    CHECK(Are(Common, 256, 0x44));
    Adapter->DmaOperations->FreeCommonBuffer(Adapter, 4096, Job.Where, Common, TRUE);
    Adapter->DmaOperations->PutDmaAdapter(Adapter);
    ntmm_device_destroy(Hardware);
    PUCHAR Memory = MmAllocateContiguousMemory(8192, Highest);
    MM_COPY_ADDRESS From = {.PhysicalAddress = MmGetPhysicalAddress(Memory)};
    UCHAR Seen[16];
    SIZE_T Moved;
    CHECK(MmCopyMemory(Seen, From, sizeof(Seen), MM_COPY_MEMORY_PHYSICAL, &Moved) == STATUS_SUCCESS && Moved == 16);
    CHECK(memcmp(Seen, Memory, 16) == 0);
    MmFreeContiguousMemory(Memory);
}

/* The host's kernel: a file. */
static NOINLINE void ByFile(void)
{
    UNICODE_STRING Name;
    OBJECT_ATTRIBUTES Attributes;
    IO_STATUS_BLOCK Status;
    LARGE_INTEGER Offset = {.QuadPart = 0};
    HANDLE File;
    char Text[] = "written by the host";
    PCHAR Block = ExAllocatePoolWithTag(PagedPool, 100, TAG);
    RtlInitUnicodeString(&Name, L"\\??\\C:\\unwritten.txt");
    InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    CHECK(ZwCreateFile(&File, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE | DELETE, &Attributes, &Status, NULL,
                       FILE_ATTRIBUTE_NORMAL, 0, FILE_CREATE, FILE_DELETE_ON_CLOSE | FILE_SYNCHRONOUS_IO_NONALERT, NULL,
                       0) == STATUS_SUCCESS);
    CHECK(ZwWriteFile(File, NULL, NULL, NULL, &Status, Text, sizeof(Text), NULL, NULL) == STATUS_SUCCESS);
    CHECK(ZwReadFile(File, NULL, NULL, NULL, &Status, Block, sizeof(Text), &Offset, NULL) == STATUS_SUCCESS);
    CHECK(Status.Information == sizeof(Text) && strcmp(Block, Text) == 0);
    ZwClose(File);
    ExFreePoolWithTag(Block, TAG);
}

/* Faults, exceptions, captured registers, other threads and their stacks. */
static NOINLINE LONG Caught(void)
{
    volatile LONG Seen = 0;
    __try {
        *(volatile ULONG *)8 = 1;
    } __except (GetExceptionCode() == STATUS_ACCESS_VIOLATION ? EXCEPTION_EXECUTE_HANDLER : EXCEPTION_CONTINUE_SEARCH) {
        Seen = 1;
    }
    __try {
        ExRaiseStatus(STATUS_NO_MEMORY);
    } __except (GetExceptionInformation()->ExceptionRecord->ExceptionCode == STATUS_NO_MEMORY) {
        Seen += 2;
    }
    return Seen;
}

static VOID Other(PVOID Context)
{
    LARGE_INTEGER Short = {.QuadPart = -1000};
    KTIMER Timer;
    KeInitializeTimer(&Timer);
    KeSetTimer(&Timer, Short, NULL);
    KeWaitForSingleObject(&Timer, Executive, KernelMode, FALSE, NULL);
    CHECK(Caught() == 3);
    KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static NOINLINE void OutParameters(void)
{
    LARGE_INTEGER Now;
    CONTEXT Context;
    KIRQL Old;
    KSPIN_LOCK Lock;
    KEVENT Done;
    HANDLE Thread;
    UNICODE_STRING Number;
    WCHAR Buffer[20];
    ULONG Value;
    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLock(&Lock, &Old);
    KeReleaseSpinLock(&Lock, Old);
    CHECK(Old == PASSIVE_LEVEL);
    KeQuerySystemTime(&Now);
    CHECK(Now.QuadPart > 0);
    RtlCaptureContext(&Context);
    CHECK(Context.Rip != 0 && Context.Rsp != 0);
    RtlInitEmptyUnicodeString(&Number, Buffer, sizeof(Buffer));
    CHECK(RtlIntegerToUnicodeString(1234, 10, &Number) == STATUS_SUCCESS);
    CHECK(RtlUnicodeStringToInteger(&Number, 10, &Value) == STATUS_SUCCESS && Value == 1234);
    KeInitializeEvent(&Done, NotificationEvent, FALSE);
    CHECK(PsCreateSystemThread(&Thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, Other, &Done) == STATUS_SUCCESS);
    KeWaitForSingleObject(&Done, Executive, KernelMode, FALSE, NULL);
    ZwClose(Thread);
    CHECK(Caught() == 3);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    if (strcmp(argv[1], "good") != 0)
        return Sin(argv[1], argc > 2 ? strtoul(argv[2], NULL, 0) : 40);
    Zeroed();
    OutParameters();
    Aliases();
    ByDevice();
    ByFile();
    PagedOut();
    if (Failed == 0)
        puts("good");
    return Failed;
}
