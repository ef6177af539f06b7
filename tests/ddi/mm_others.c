/*
 * mm_others.c - the routines of memory that no other test calls: other names of tested ones, and small ones.
 * SPDX-License-Identifier: MIT
 *
 * docs/routines.tsv says which test tests which routine; scripts/check-routines holds it to that.
 */
#include <stdio.h>
#include <unistd.h>
#include "dma_kit.h"
#include <ntifs.h>

static KIT_MDL Kit;
#define M (&Kit.Mdl)

/* Each width, alone and in a row. */
#define REGISTERS(Type, Name, Value)                                                                                           \
    do {                                                                                                                       \
        volatile Type *Register = Page;                                                                                        \
        Type In[4] = {1, (Type)(Value), 3, 4}, Out[4] = {0};                                                                   \
        WRITE_REGISTER_##Name(Register, (Type)(Value));                                                                        \
        assert_true(READ_REGISTER_##Name(Register) == (Type)(Value));                                                          \
        WRITE_REGISTER_BUFFER_##Name(Register, In, 4);                                                                         \
        READ_REGISTER_BUFFER_##Name(Register, Out, 4);                                                                         \
        assert_memory_equal(In, Out, sizeof(In));                                                                              \
        assert_true(Register[1] == (Type)(Value));                                                                             \
    } while (0)

/* READ_REGISTER_UCHAR WRITE_REGISTER_UCHAR READ_REGISTER_BUFFER_UCHAR WRITE_REGISTER_BUFFER_UCHAR
 * READ_REGISTER_USHORT WRITE_REGISTER_USHORT READ_REGISTER_BUFFER_USHORT WRITE_REGISTER_BUFFER_USHORT
 * READ_REGISTER_ULONG WRITE_REGISTER_ULONG READ_REGISTER_BUFFER_ULONG WRITE_REGISTER_BUFFER_ULONG
 * READ_REGISTER_ULONG64 WRITE_REGISTER_ULONG64 READ_REGISTER_BUFFER_ULONG64 WRITE_REGISTER_BUFFER_ULONG64 */
static void Registers_EveryWidth(void **State)
{
    PVOID Page = ExAllocatePool2(POOL_FLAG_NON_PAGED, PAGE_SIZE, 'sgeR');
    (void)State;
    REGISTERS(UCHAR, UCHAR, 0xA5);
    REGISTERS(USHORT, USHORT, 0xA55A);
    REGISTERS(ULONG, ULONG, 0xA5500BAD);
    REGISTERS(ULONG64, ULONG64, 0x123456789ABCDEF0ull);
    ExFreePool(Page);
}

/* BYTE_OFFSET, ROUND_TO_PAGES, COMPUTE_PAGES_SPANNED; PAGED_CODE_LOCKED does nothing; MmIsUserAddress by MmSystemRangeStart. */
static void Macros_Compute(void **State)
{
    (void)State;
    PAGED_CODE_LOCKED();
    assert_int_equal(BYTE_OFFSET(0x12345), 0x345);
    assert_int_equal(ROUND_TO_PAGES(1), PAGE_SIZE);
    assert_int_equal(ROUND_TO_PAGES(PAGE_SIZE), PAGE_SIZE);
    assert_int_equal(COMPUTE_PAGES_SPANNED(0x12FFF, 2), 2);
    PVOID User = MmAllocateUserPages(1, PAGE_READWRITE), System = ExAllocatePool2(POOL_FLAG_NON_PAGED, 16, 'sgeR');
    assert_true(MmIsUserAddress(User));
    assert_false(MmIsUserAddress(System));
    ExFreePool(System);
    MmFreeUserPages(User, 1);
}

static void InitialStack(PVOID Context)
{
    ULONG_PTR Low, High, Here = (ULONG_PTR)&Low;
    IoGetStackLimits(&Low, &High);
    PVOID Base = IoGetInitialStack();
    *(BOOLEAN *)Context = (ULONG_PTR)Base == High && Here < (ULONG_PTR)Base && Here >= Low;
}
/* IoGetInitialStack: "the base of the current thread's stack". */
static void IoGetInitialStack_IsTheBase(void **State)
{
    BOOLEAN Good = FALSE;
    (void)State;
    InitialStack(&Good);
    assert_true(Good);
}

static void Touch(void *Argument)
{
    __try {
        (void)KitLoad(Argument);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
    }
}
/* MM_BAD_POINTER: "guaranteed to cause a bug check if dereferenced", to the last byte of its page, also inside try/except. */
static void MmBadPointer_AlwaysStops(void **State)
{
    (void)State;
    assert_ptr_equal(MM_BAD_POINTER, MmBadPointer);
    for (ULONG Offset = 0; Offset < PAGE_SIZE; Offset += PAGE_SIZE - 1) {
        ntmm_bugcheck Stop;
        assert_true(ntmm_catch(Touch, (PUCHAR)MmBadPointer + Offset, &Stop));
        assert_int_equal(Stop.code, PAGE_FAULT_IN_NONPAGED_AREA);
        assert_int_equal(Stop.parameters[0], (ULONG_PTR)MmBadPointer + Offset);
        assert_int_equal(Stop.parameters[1], 0);
    }
}

/* A file object is never a page file's, nor of persistent memory; no fault is inside a file system. */
static void FileObjects_AreOrdinary(void **State)
{
    FILE_OBJECT File = {0};
    (void)State;
    assert_false(FsRtlIsPagingFile(&File));
    assert_false(FsRtlIsSystemPagingFile(&File));
    assert_false(FsRtlIsDaxVolume(&File));
    assert_false(MmIsRecursiveIoFault());
    assert_true(MmGetMaximumFileSectionSize() >= 1ull << 40);
    assert_null(PsGetProcessSectionBaseAddress(PsInitialSystemProcess));
    assert_non_null(*MmSectionObjectType);
}

/* MmGetSystemAddressForMdl: the obsolete form, which stops where the safe one says NULL; MM_MDL_ROUTINE is what MmMapMdl calls;
 * MmAllocatePartitionNodePagesForMdlEx: the system's partition is NULL. */
static void Mdls_OtherForms(void **State)
{
    PHYSICAL_ADDRESS None = At(0);
    MM_MDL_ROUTINE *Routine = NULL;
    (void)State;
    (void)Routine;
    PUCHAR Paged = MmAllocatePages(MmRegionPagedPool, 2, 0, NormalPoolPriority);
    Paged[5] = 9;
    MmInitializeMdl(M, Paged, 2 * PAGE_SIZE);
    MmProbeAndLockPages(M, KernelMode, IoReadAccess);
    PUCHAR Va = MmGetSystemAddressForMdl(M);
    assert_int_equal(Va[5], 9);
    assert_ptr_equal(MmGetSystemAddressForMdl(M), Va);
    MmUnlockPages(M);
    MmFreePages(Paged, 2);
    PMDL Mdl = MmAllocatePartitionNodePagesForMdlEx(None, At(~0ull), None, 3 * PAGE_SIZE, MmCached, 0, 0, NULL);
    assert_non_null(Mdl);
    assert_int_equal(MmGetMdlByteCount(Mdl), 3 * PAGE_SIZE);
    MmFreePagesFromMdl(Mdl);
    ExFreePool(Mdl);
    assert_null(MmAllocatePartitionNodePagesForMdlEx(None, At(~0ull), None, PAGE_SIZE, MmCached, 0, 0, &Kit));
}

/* MmMapVideoDisplay and MmUnmapVideoDisplay are MmMapIoSpace and MmUnmapIoSpace of a display's memory. */
static void MmMapVideoDisplay_MapsDeviceMemory(void **State)
{
    PHYSICAL_ADDRESS Where = At(0);
    (void)State;
    for (ULONG Run = 0; Run < MiState->RunCount; Run++) {
        if (MiState->Runs[Run].Device) {
            Where = At((ULONG64)MiState->Runs[Run].BasePage << PAGE_SHIFT);
        }
    }
    PUCHAR Va = MmMapVideoDisplay(Where, 2 * PAGE_SIZE, MmWriteCombined);
    assert_non_null(Va);
    Va[PAGE_SIZE] = 7;
    assert_int_equal(MmGetPhysicalAddress(Va).QuadPart, Where.QuadPart);
    MmUnmapVideoDisplay(Va, 2 * PAGE_SIZE);
    assert_null(MiValidateAll());
}

/* The Nt names of the services for memory. */
static void NtNames_AreTheServices(void **State)
{
    PVOID Base = NULL, Part;
    SIZE_T Size = 4 * PAGE_SIZE, Bytes = PAGE_SIZE;
    ULONG Old;
    IO_STATUS_BLOCK Block;
    (void)State;
    assert_int_equal(
        NtAllocateVirtualMemoryEx(NtCurrentProcess(), &Base, &Size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE, NULL, 0),
        STATUS_SUCCESS);
    Part = Base;
    assert_int_equal(NtProtectVirtualMemory(NtCurrentProcess(), &Part, &Bytes, PAGE_READONLY, &Old), STATUS_SUCCESS);
    assert_int_equal(Old, PAGE_READWRITE);
    assert_int_equal(NtLockVirtualMemory(NtCurrentProcess(), &Part, &Bytes, MAP_PROCESS), STATUS_SUCCESS);
    assert_int_equal(NtUnlockVirtualMemory(NtCurrentProcess(), &Part, &Bytes, MAP_PROCESS), STATUS_SUCCESS);
    MEMORY_RANGE_ENTRY Range = {Base, 4 * PAGE_SIZE};
    ULONG Zero = 0;
    assert_int_equal(NtSetInformationVirtualMemory(NtCurrentProcess(), VmPrefetchInformation, 1, &Range, &Zero, sizeof(Zero)),
                     STATUS_SUCCESS);
    assert_int_equal(NtFlushVirtualMemory(NtCurrentProcess(), &Part, &Bytes, &Block), STATUS_NOT_MAPPED_VIEW);
    Size = 0;
    assert_int_equal(NtFreeVirtualMemory(NtCurrentProcess(), &Base, &Size, MEM_RELEASE), STATUS_SUCCESS);
}

static void NtNames_Sections(void **State)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\BaseNamedObjects\\MmOthers");
    OBJECT_ATTRIBUTES Attributes;
    LARGE_INTEGER Bytes = {.QuadPart = 4 * PAGE_SIZE};
    SECTION_BASIC_INFORMATION Info;
    SECTION_OBJECT_POINTERS None = {0};
    HANDLE Section, Other;
    PVOID Base = NULL, System = NULL, Session = NULL, Object;
    SIZE_T Size = 0, SystemSize = 0, SessionSize = 0;
    (void)State;
    InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE, NULL, NULL);
    assert_int_equal(NtCreateSection(&Section, SECTION_ALL_ACCESS, &Attributes, &Bytes, PAGE_READWRITE, SEC_COMMIT, NULL),
                     STATUS_SUCCESS);
    assert_int_equal(NtOpenSection(&Other, SECTION_ALL_ACCESS, &Attributes), STATUS_SUCCESS);
    assert_int_equal(NtQuerySection(Other, SectionBasicInformation, &Info, sizeof(Info), NULL), STATUS_SUCCESS);
    assert_int_equal(Info.MaximumSize.QuadPart, 4 * PAGE_SIZE);
    assert_int_equal(NtExtendSection(Other, &Bytes), STATUS_SECTION_NOT_EXTENDED);
    assert_int_equal(NtMapViewOfSection(Other, NtCurrentProcess(), &Base, 0, 0, NULL, &Size, ViewUnmap, 0, PAGE_READWRITE),
                     STATUS_SUCCESS);
    *(volatile UCHAR *)Base = 0x77;
    assert_int_equal(ObReferenceObjectByHandle(Section, SECTION_MAP_READ, *MmSectionObjectType, KernelMode, &Object, NULL),
                     STATUS_SUCCESS);
    assert_int_equal(MmMapViewInSystemSpaceEx(Object, &System, &SystemSize, NULL, 0), STATUS_SUCCESS);
    assert_int_equal(MmMapViewInSessionSpace(Object, &Session, &SessionSize), STATUS_SUCCESS);
    assert_int_equal(*(volatile UCHAR *)System, 0x77);
    assert_int_equal(*(volatile UCHAR *)Session, 0x77);
    assert_int_equal(MmUnmapViewInSessionSpace(Session), STATUS_SUCCESS);
    assert_int_equal(MmUnmapViewInSystemSpace(System), STATUS_SUCCESS);
    ObDereferenceObject(Object);
    assert_int_equal(NtUnmapViewOfSection(NtCurrentProcess(), Base), STATUS_SUCCESS);
    ZwClose(Other);
    ZwClose(Section);
    assert_true(MmForceSectionClosedEx(&None, 0)); /* there is nothing to close */
}

/* AdapterControl: "returns DeallocateObjectKeepRegisters": the registers stay the driver's. */
static IO_ALLOCATION_ACTION NTAPI Kept(PDEVICE_OBJECT Object, PIRP Irp, PVOID MapRegisterBase, PVOID Context)
{
    (void)Object;
    (void)Irp;
    *(PVOID *)Context = MapRegisterBase;
    return KeepObject;
}
static IO_ALLOCATION_ACTION NTAPI Granted(PDEVICE_OBJECT Object, PIRP Irp, PVOID MapRegisterBase, PVOID Context)
{
    (void)Object;
    (void)Irp;
    *(PVOID *)Context = MapRegisterBase;
    return DeallocateObjectKeepRegisters;
}

/* The obsolete forms of the DMA operations by name, FlushDmaBuffer and BuildScatterGatherListEx. */
static void Dma_OtherForms(void **State)
{
    ULONG Registers, Length = 2 * PAGE_SIZE;
    PHYSICAL_ADDRESS Logical;
    PVOID Base = NULL, Context = malloc(DMA_TRANSFER_CONTEXT_SIZE_V1);
    UCHAR Room[512];
    PSCATTER_GATHER_LIST List = NULL;
    (void)State;
    PDMA_ADAPTER Adapter = GetAdapter(3, 64, TRUE, &Registers);
    PVOID Common = HalAllocateCommonBuffer(Adapter, PAGE_SIZE, &Logical, TRUE);
    assert_non_null(Common);
    HalFreeCommonBuffer(Adapter, PAGE_SIZE, Logical, Common, TRUE);
    PUCHAR Block = ExAllocatePool2(POOL_FLAG_NON_PAGED, Length, 'sgeR');
    MmInitializeMdl(M, Block, Length);
    MmBuildMdlForNonPagedPool(M);
    KIRQL Old = AtDispatch();
    assert_int_equal(IoAllocateAdapterChannel(Adapter, &Device, 2, Granted, &Base), STATUS_SUCCESS);
    assert_non_null(Base);
    Logical = IoMapTransfer(Adapter, M, Base, Block, &Length, TRUE);
    assert_int_equal(Logical.QuadPart, MmGetPhysicalAddress(Block).QuadPart);
    assert_true(IoFlushAdapterBuffers(Adapter, M, Base, Block, Length, TRUE));
    IoFreeMapRegisters(Adapter, Base, 2);
    assert_int_equal(IoAllocateAdapterChannel(Adapter, &Device, 2, Kept, &Base), STATUS_SUCCESS);
    IoFreeAdapterChannel(Adapter);
    assert_int_equal(OP(Adapter)->FlushDmaBuffer(Adapter, M, TRUE), STATUS_SUCCESS);
    assert_int_equal(OP(Adapter)->InitializeDmaTransferContext(Adapter, Context), STATUS_SUCCESS);
    assert_int_equal(OP(Adapter)->BuildScatterGatherListEx(Adapter, &Device, Context, M, 0, 2 * PAGE_SIZE,
                                                           DMA_SYNCHRONOUS_CALLBACK, NULL, NULL, TRUE, Room, sizeof(Room), NULL,
                                                           NULL, &List),
                     STATUS_SUCCESS);
    assert_ptr_equal(List, Room);
    assert_int_equal(List->Elements[0].Address.QuadPart, MmGetPhysicalAddress(Block).QuadPart);
    OP(Adapter)->PutScatterGatherList(Adapter, List, TRUE);
    KeLowerIrql(Old);
    ExFreePool(Block);
    free(Context);
    OP(Adapter)->PutDmaAdapter(Adapter);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Registers_EveryWidth),
        cmocka_unit_test(Macros_Compute),
        cmocka_unit_test(IoGetInitialStack_IsTheBase),
        cmocka_unit_test(MmBadPointer_AlwaysStops),
        cmocka_unit_test(FileObjects_AreOrdinary),
        cmocka_unit_test(Mdls_OtherForms),
        cmocka_unit_test(MmMapVideoDisplay_MapsDeviceMemory),
        cmocka_unit_test(NtNames_AreTheServices),
        cmocka_unit_test(NtNames_Sections),
        cmocka_unit_test(Dma_OtherForms),
    };
    return cmocka_run_group_tests(Tests, KitStart, KitStop);
}
