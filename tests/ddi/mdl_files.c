/*
 * mdl_files.c - what the pages of the routines say that give a file's data by MDL: FsRtlMdlReadEx, FsRtlPrepareMdlWriteEx and what gives the
 * chains back; the file system is this program's. SPDX-License-Identifier: MIT
 */
#include "section_kit.h"
#include "tag_kit.h"

#define PAGES 8u
/* The file system's own cache: a view of the file's section. */
static PUCHAR Cache;
static PVOID CacheObject;
static HANDLE CacheSection, File;
static PFILE_OBJECT Object;

/* What it was asked, and how it answers. */
static struct {
    ULONG Fast, Packets, Completions; /* calls */
    BOOLEAN Refuse;                   /* fast I/O says FALSE */
    BOOLEAN Late;                     /* packets are completed by a work item */
    NTSTATUS Status;                  /* of what it does */
    PFILE_OBJECT File;
    PDEVICE_OBJECT Device;
    LARGE_INTEGER Offset;
    ULONG Length, Key;
    UCHAR Major, Minor;
    LOCK_OPERATION Operation;
} Fs;

/* An MDL a page, locked and not mapped. */
static PMDL Chain(LONGLONG Offset, ULONG Length, LOCK_OPERATION Operation)
{
    PMDL First = NULL, *Link = &First;
    while (Length != 0) {
        ULONG Bytes = min(Length, PAGE_SIZE - (ULONG)(Offset & (PAGE_SIZE - 1)));
        PMDL Mdl = IoAllocateMdl(Cache + Offset, Bytes, FALSE, FALSE, NULL);
        MmProbeAndLockPages(Mdl, KernelMode, Operation);
        *Link = Mdl;
        Link = &Mdl->Next;
        Offset += Bytes;
        Length -= Bytes;
    }
    return First;
}

static VOID Note(PFILE_OBJECT FileObject, PDEVICE_OBJECT Device, LARGE_INTEGER Offset, ULONG Length, ULONG Key)
{
    Fs.File = FileObject;
    Fs.Device = Device;
    Fs.Offset = Offset;
    Fs.Length = Length;
    Fs.Key = Key;
}

static BOOLEAN FastTake(PFILE_OBJECT FileObject, PLARGE_INTEGER Offset, ULONG Length, ULONG Key, PMDL *MdlChain,
                        PIO_STATUS_BLOCK IoStatus, PDEVICE_OBJECT Device)
{
    Fs.Fast++;
    Note(FileObject, Device, *Offset, Length, Key);
    if (Fs.Refuse)
        return FALSE;
    *MdlChain = NT_SUCCESS(Fs.Status) ? Chain(Offset->QuadPart, Length, Fs.Operation) : NULL;
    IoStatus->Status = Fs.Status;
    IoStatus->Information = NT_SUCCESS(Fs.Status) ? Length : 0;
    return TRUE;
}
static BOOLEAN FastReadComplete(PFILE_OBJECT FileObject, PMDL MdlChain, PDEVICE_OBJECT Device)
{
    Fs.Completions++;
    return !Fs.Refuse && FsRtlMdlReadCompleteDev(FileObject, MdlChain, Device);
}
static BOOLEAN FastWriteComplete(PFILE_OBJECT FileObject, PLARGE_INTEGER Offset, PMDL MdlChain, PDEVICE_OBJECT Device)
{
    Fs.Completions++;
    Fs.Offset = *Offset;
    if (Fs.Refuse)
        return FALSE;
    (void)FsRtlMdlWriteCompleteDev(FileObject, Offset, MdlChain, Device);
    return TRUE;
}
static FAST_IO_DISPATCH Table = {.SizeOfFastIoDispatch = sizeof Table};
static const FAST_IO_DISPATCH Whole = {.SizeOfFastIoDispatch = sizeof Table,
                                       .MdlRead = FastTake,
                                       .MdlReadComplete = FastReadComplete,
                                       .PrepareMdlWrite = FastTake,
                                       .MdlWriteComplete = FastWriteComplete};

static VOID Answer(PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    if (NT_SUCCESS(Fs.Status)) {
        Irp->MdlAddress = Chain(Stack->Parameters.Read.ByteOffset.QuadPart, Stack->Parameters.Read.Length, Fs.Operation);
        Irp->IoStatus.Information = Stack->Parameters.Read.Length;
    }
    Irp->IoStatus.Status = Fs.Status;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
}
static PIO_WORKITEM Item;
static VOID Later(PDEVICE_OBJECT Device, PVOID Context)
{
    (void)Device;
    Answer(Context);
}
static NTSTATUS Dispatch(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    if (Stack->MinorFunction != IRP_MN_MDL)
        return SkDispatch(Device, Irp);
    Fs.Packets++;
    Fs.Major = Stack->MajorFunction;
    Fs.Minor = Stack->MinorFunction;
    Note(Stack->FileObject, Device, Stack->Parameters.Read.ByteOffset, Stack->Parameters.Read.Length,
         Stack->Parameters.Read.Key);
    assert_null(Irp->MdlAddress);
    if (Fs.Late) {
        IoMarkIrpPending(Irp);
        IoQueueWorkItem(Item, Later, DelayedWorkQueue, Irp);
        return STATUS_PENDING;
    }
    NTSTATUS Status = Fs.Status;
    Answer(Irp);
    return Status;
}

static int Start(void **State)
{
    PVOID Mapped;
    SIZE_T Bytes = 0;
    ntmm_options Options = SkOptions();
    (void)State;
    if (SkStart(&Options) != 0)
        return -1;
    memset(&Fs, 0, sizeof Fs);
    Table = Whole;
    SkDevice->DriverObject->FastIoDispatch = &Table;
    SkDevice->DriverObject->MajorFunction[IRP_MJ_READ] = SkDevice->DriverObject->MajorFunction[IRP_MJ_WRITE] = Dispatch;
    CacheSection = SkFileSection(PAGES * PAGE_SIZE, PAGE_READWRITE);
    CacheObject = SkObject(CacheSection);
    File = SkOpen(GENERIC_READ | GENERIC_WRITE);
    if (MmMapViewInSystemSpace(CacheObject, &Mapped, &Bytes) != STATUS_SUCCESS ||
        ObReferenceObjectByHandle(File, 0, *IoFileObjectType, KernelMode, (PVOID *)&Object, NULL) != STATUS_SUCCESS)
        return -1;
    Cache = Mapped;
    Item = IoAllocateWorkItem(SkDevice);
    return Item != NULL ? 0 : -1;
}
static int Stop(void **State)
{
    IoFreeWorkItem(Item);
    ObDereferenceObject(Object);
    ZwClose(File);
    (void)MmUnmapViewInSystemSpace(Cache);
    ObDereferenceObject(CacheObject);
    ZwClose(CacheSection);
    return SkStop(State);
}

static LONG64 Mdls(void)
{
    return KitTagUse(' ldM').Blocks;
}

#define AT     (LONGLONG)(PAGE_SIZE + 100) /* what the tests ask for: two pages' parts */
#define LENGTH (PAGE_SIZE + 50u)
static LARGE_INTEGER Offset = {.QuadPart = AT};

/* The chain has the bytes asked for, is "locked in memory, but not mapped in system space", and MmGetSystemAddressForMdlSafe maps it. */
static void CheckChain(PMDL Mdl)
{
    ULONG64 At = AT;
    for (ULONG Index = 0; Index < 2; Index++, Mdl = Mdl->Next) {
        assert_non_null(Mdl);
        assert_true((Mdl->MdlFlags & MDL_PAGES_LOCKED) != 0);
        assert_true((Mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) == 0);
        PUCHAR Bytes = MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority | MdlMappingNoExecute);
        for (ULONG Byte = 0; Byte < MmGetMdlByteCount(Mdl); Byte++, At++)
            assert_int_equal(Bytes[Byte], SkByte(At));
    }
    assert_null(Mdl);
    assert_int_equal(At, AT + LENGTH);
}

/* "If fast I/O is available from the file system, the FsRtlMdlReadEx routine will bypass the usual IRP read mechanism and return a linked list
 * of ... MDL"; "IoStatus.Information is set to the actual number of bytes that the routine successfully locked"; "The pages remain locked in
 * memory until the caller invokes the CcMdlReadComplete routine." */
static void FsRtlMdlReadEx_FastIo(void **State)
{
    IO_STATUS_BLOCK Block = {.Status = STATUS_PENDING};
    PMDL Mdl = NULL;
    (void)State;
    LONG64 Before = Mdls();
    assert_int_equal(FsRtlMdlReadEx(Object, &Offset, LENGTH, 7, &Mdl, &Block), STATUS_SUCCESS);
    assert_int_equal(Block.Status, STATUS_SUCCESS);
    assert_int_equal(Block.Information, LENGTH);
    assert_true(Fs.Fast == 1 && Fs.Packets == 0 && Fs.File == Object && Fs.Device == SkDevice);
    assert_true(Fs.Offset.QuadPart == AT && Fs.Length == LENGTH && Fs.Key == 7);
    CheckChain(Mdl);
    assert_int_equal(Mdls(), Before + 2);
    CcMdlReadComplete(Object, Mdl);
    assert_int_equal(Fs.Completions, 1);
    assert_int_equal(Mdls(), Before);
}

/* "If fast I/O is not enabled, FsRtlMdlReadEx will generate a synchronous IRP based MDL read and return the MDLs from the request." Not enabled: no
 * table, one that is too short, one without the entry; so it is when the entry says FALSE, and when the packet pends. */
static void FsRtlMdlReadEx_NoFastIo_ByPacket(void **State)
{
    (void)State;
    LONG64 Before = Mdls();
    for (ULONG Case = 0; Case < 5; Case++) {
        IO_STATUS_BLOCK Block = {.Status = STATUS_PENDING};
        PMDL Mdl = NULL;
        memset(&Fs, 0, sizeof Fs);
        Table = Whole;
        SkDevice->DriverObject->FastIoDispatch = Case == 0 ? NULL : &Table;
        Table.SizeOfFastIoDispatch = Case == 1 ? offsetof(FAST_IO_DISPATCH, MdlRead) : sizeof Table;
        Table.MdlRead = Case == 2 ? NULL : FastTake;
        Fs.Refuse = Case >= 3;
        Fs.Late = Case == 4;
        assert_int_equal(FsRtlMdlReadEx(Object, &Offset, LENGTH, 9, &Mdl, &Block), STATUS_SUCCESS);
        assert_int_equal(Block.Status, STATUS_SUCCESS);
        assert_int_equal(Block.Information, LENGTH);
        assert_int_equal(Fs.Fast, Case >= 3);
        assert_true(Fs.Packets == 1 && Fs.Major == IRP_MJ_READ && Fs.Minor == IRP_MN_MDL && Fs.File == Object && Fs.Key == 9);
        assert_true(Fs.Offset.QuadPart == AT && Fs.Length == LENGTH);
        CheckChain(Mdl);
        CcMdlReadComplete(Object, Mdl); /* by the entry, or without it */
        assert_int_equal(Mdls(), Before);
    }
}

/* "Otherwise, it is set to an appropriate NTSTATUS error code": the file system's, either way. */
static void FsRtlMdlReadEx_Failures_AreTheFileSystems(void **State)
{
    (void)State;
    for (ULONG Case = 0; Case < 2; Case++) {
        IO_STATUS_BLOCK Block = {.Status = STATUS_PENDING, .Information = 1};
        PMDL Mdl = NULL;
        Fs.Status = STATUS_END_OF_FILE;
        Fs.Refuse = Case == 1;
        assert_int_equal(FsRtlMdlReadEx(Object, &Offset, LENGTH, 0, &Mdl, &Block), STATUS_END_OF_FILE);
        assert_int_equal(Block.Status, STATUS_END_OF_FILE);
        assert_int_equal(Block.Information, 0);
        assert_null(Mdl);
        assert_int_equal(FsRtlPrepareMdlWriteEx(Object, &Offset, LENGTH, 0, &Mdl, &Block), STATUS_END_OF_FILE);
        assert_null(Mdl);
        assert_int_equal(Fs.Packets, 2 * Case);
    }
}

/* "the physical pages that the caller will overwrite are locked in memory and can be written to directly"; CcMdlWriteComplete gives them back and marks
 * the range for write; "Unlike CcMdlWriteComplete, CcMdlWriteAbort does not cause any data to be written". */
static void FsRtlPrepareMdlWriteEx_WhatIsWritten_IsTheFiles(void **State)
{
    (void)State;
    LONG64 Before = Mdls();
    for (ULONG Case = 0; Case < 3; Case++) {
        IO_STATUS_BLOCK Block;
        PMDL Mdl = NULL;
        memset(&Fs, 0, sizeof Fs);
        Fs.Operation = IoWriteAccess;
        Fs.Refuse = Case == 1;
        assert_int_equal(FsRtlPrepareMdlWriteEx(Object, &Offset, 10, 3, &Mdl, &Block), STATUS_SUCCESS);
        assert_int_equal(Block.Information, 10);
        assert_true(Case != 1 || (Fs.Packets == 1 && Fs.Major == IRP_MJ_WRITE && Fs.Minor == IRP_MN_MDL && Fs.Key == 3));
        memset(MmGetSystemAddressForMdlSafe(Mdl, NormalPagePriority | MdlMappingNoExecute), (INT)(0xA0 + Case), 10);
        if (Case < 2) {
            CcMdlWriteComplete(Object, &Offset, Mdl);
            assert_true(Fs.Completions == 1 && Fs.Offset.QuadPart == AT);
        } else {
            CcMdlWriteAbort(Object, Mdl);
            assert_int_equal(Fs.Completions, 0);
        }
        assert_int_equal(Mdls(), Before);
        assert_int_equal(Cache[AT], 0xA0 + Case);
        assert_int_equal(Cache[AT + 9], 0xA0 + Case);
        assert_int_equal(SkBytes[AT], SkByte(AT)); /* not yet, or never */
        assert_int_equal(SkWrites, 0);
    }
}

static NTSTATUS RaisedBy(void (*Function)(void *), void *Argument)
{
    volatile NTSTATUS Status = STATUS_SUCCESS;
    __try {
        Function(Argument);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        Status = GetExceptionCode();
    }
    return Status;
}

static PMDL ToComplete;
static void CompleteWrite(void *Unused)
{
    (void)Unused;
    CcMdlWriteComplete(Object, &Offset, ToComplete);
}

/* "If the FO_WRITE_THROUGH flag is set on the file object ... the file data is immediately flushed to disk. This flush operation ... can cause CcMdlWriteComplete to
 * raise an exception if the flush operation fails. In this case, the MDL has not been freed and the caller may re-try the operation."
 * FsRtlMdlWriteCompleteDev "returns TRUE if the operation succeeds and FALSE ... if the FO_WRITE_THROUGH flag is set". */
static void CcMdlWriteComplete_WriteThrough_Flushes_OrRaises(void **State)
{
    IO_STATUS_BLOCK Block;
    (void)State;
    LONG64 Before = Mdls();
    Fs.Operation = IoWriteAccess;
    for (ULONG Case = 0; Case < 2; Case++) {
        ToComplete = NULL;
        Object->Flags |= FO_WRITE_THROUGH;
        assert_int_equal(FsRtlPrepareMdlWriteEx(Object, &Offset, 10, 0, &ToComplete, &Block), STATUS_SUCCESS);
        memset(MmGetSystemAddressForMdlSafe(ToComplete, NormalPagePriority | MdlMappingNoExecute), (INT)(0x40 + Case), 10);
        SkWriteStatus = STATUS_DISK_FULL;
        assert_int_equal(RaisedBy(CompleteWrite, NULL), STATUS_DISK_FULL);
        assert_int_equal(Mdls(), Before + 1);
        assert_true((ToComplete->MdlFlags & MDL_PAGES_LOCKED) != 0);
        SkWriteStatus = STATUS_SUCCESS;
        if (Case == 0) {
            CcMdlWriteComplete(Object, &Offset, ToComplete);
        } else {
            assert_false(FsRtlMdlWriteCompleteDev(Object, &Offset, ToComplete, SkDevice));
        }
        assert_int_equal(SkBytes[AT], 0x40 + Case);
        assert_int_equal(SkBytes[AT + 9], 0x40 + Case);
        assert_int_equal(SkBytes[AT + 10], SkByte(AT + 10));
        assert_int_equal(Mdls(), Before);
        Object->Flags &= ~(ULONG)FO_WRITE_THROUGH;
    }
    ToComplete = NULL;
    assert_int_equal(FsRtlPrepareMdlWriteEx(Object, &Offset, 10, 0, &ToComplete, &Block), STATUS_SUCCESS);
    assert_true(FsRtlMdlWriteCompleteDev(Object, &Offset, ToComplete, SkDevice));
    assert_int_equal(Mdls(), Before);
}

/* FsRtlMdlReadDev, FsRtlPrepareMdlWriteDev: "returns TRUE if the operation succeeds and FALSE if the operation fails": no file is in a cache of
 * the system's (docs/CHOICES.md). */
static void FsRtlMdlReadDev_NothingIsCached_False(void **State)
{
    IO_STATUS_BLOCK Block = {.Status = STATUS_SUCCESS, .Information = 5};
    PMDL Mdl = NULL;
    (void)State;
    assert_false(FsRtlMdlReadDev(Object, &Offset, 10, 0, &Mdl, &Block, SkDevice));
    assert_int_equal(Block.Status, STATUS_NOT_SUPPORTED);
    assert_int_equal(Block.Information, 0);
    assert_null(Mdl);
    Block.Status = STATUS_SUCCESS;
    assert_false(FsRtlPrepareMdlWriteDev(Object, &Offset, 10, 0, &Mdl, &Block, NULL));
    assert_int_equal(Block.Status, STATUS_NOT_SUPPORTED);
    assert_null(Mdl);
}

int main(void)
{
#define WITH(Test) cmocka_unit_test_setup_teardown(Test, Start, Stop)
    const struct CMUnitTest Tests[] = {
        WITH(FsRtlMdlReadEx_FastIo),
        WITH(FsRtlMdlReadEx_NoFastIo_ByPacket),
        WITH(FsRtlMdlReadEx_Failures_AreTheFileSystems),
        WITH(FsRtlPrepareMdlWriteEx_WhatIsWritten_IsTheFiles),
        WITH(CcMdlWriteComplete_WriteThrough_Flushes_OrRaises),
        WITH(FsRtlMdlReadDev_NothingIsCached_False),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
