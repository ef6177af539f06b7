/*
 * code_integrity.c - Driver Verifier's option 0x02000000: executable mappings and protections that drivers ask for, and images with
 * writable code. SPDX-License-Identifier: MIT
 */
#include "mm_kit.h"
#include <ntifs.h>
#include "ldr/ldr.h"
#include "../pe_builder.h"

static UCHAR File[PB_FILE_SIZE];
static const PHYSICAL_ADDRESS None, Highest = {.QuadPart = MAXLONGLONG};
static KIT_MDL Mdl;

static int Start(void **State)
{
    ntmm_options Options;
    (void)State;
    ntmm_default_options(&Options);
    Options.ram = 64u << 20;
    Options.cpus = 2;
    Options.verifier = 0x02000000;
    return ntmm_start(&Options);
}

/* Parameter 2 is the caller's code address: in this program. */
static void ExpectStop(void (*Function)(void *), void *Argument, ULONG_PTR Type, ULONG_PTR Value)
{
    ntmm_bugcheck Stop;
    assert_true(ntmm_catch(Function, Argument, &Stop));
    assert_int_equal(Stop.code, DRIVER_VERIFIER_DETECTED_VIOLATION);
    assert_int_equal(Stop.parameters[0], Type);
    assert_true(HalProbeHostMemory((const VOID *)Stop.parameters[1], 1, FALSE));
    assert_int_equal(Stop.parameters[2], Value);
    assert_int_equal(Stop.parameters[3], 0);
}

static void Map(void *Argument)
{
    PVOID Va = MmMapLockedPagesSpecifyCache(&Mdl.Mdl, KernelMode, MmCached, NULL, FALSE, *(ULONG *)Argument);
    assert_non_null(Va);
    MmUnmapLockedPages(Va, &Mdl.Mdl);
}
static void MapIo(void *Argument)
{
    PHYSICAL_ADDRESS Device = {.QuadPart = 0};
    PVOID Va = MmMapIoSpaceEx(Device, PAGE_SIZE, *(ULONG *)Argument);
    if (Va) {
        MmUnmapIoSpace(Va, PAGE_SIZE);
    }
}
static void AllocateContiguous(void *Argument)
{
    PVOID Va = MmAllocateContiguousNodeMemory(PAGE_SIZE, None, Highest, None, *(ULONG *)Argument, MM_ANY_NODE_OK);
    assert_non_null(Va);
    MmFreeContiguousMemory(Va);
}
static void Protect(void *Argument)
{
    (void)MmProtectMdlSystemAddress(&Mdl.Mdl, *(ULONG *)Argument);
}

static void Mappings_ExecutableOnesAreStops(void **State)
{
    ULONG Normal = NormalPagePriority, NoExecute = NormalPagePriority | MdlMappingNoExecute;
    ULONG ExecuteWrite = PAGE_EXECUTE_READWRITE, Execute = PAGE_EXECUTE_READ, Write = PAGE_READWRITE | PAGE_NOCACHE;
    (void)State;
    PVOID Pool = ExAllocatePoolWithTag(NonPagedPoolNx, 2 * PAGE_SIZE, 'tseT');
    MmInitializeMdl(&Mdl.Mdl, Pool, 2 * PAGE_SIZE);
    assert_int_equal(KitLock(&Mdl.Mdl, KernelMode, IoWriteAccess), STATUS_SUCCESS);
    ExpectStop(Map, &Normal, 0x2002, NormalPagePriority);
    assert_false(ntmm_catch(Map, &NoExecute, NULL));
    assert_non_null(MmMapLockedPagesSpecifyCache(&Mdl.Mdl, KernelMode, MmCached, NULL, FALSE, NoExecute));
    ExpectStop(Protect, &Execute, 0x2001, PAGE_EXECUTE_READ);
    Write = PAGE_READWRITE;
    assert_false(ntmm_catch(Protect, &Write, NULL));
    MmUnlockPages(&Mdl.Mdl);
    ExFreePoolWithTag(Pool, 'tseT');
    ExpectStop(MapIo, &ExecuteWrite, 0x2001, PAGE_EXECUTE_READWRITE);
    Write = PAGE_READWRITE | PAGE_NOCACHE;
    assert_false(ntmm_catch(MapIo, &Write, NULL));
    ExpectStop(AllocateContiguous, &ExecuteWrite, 0x2001, PAGE_EXECUTE_READWRITE);
    Write = PAGE_READWRITE;
    assert_false(ntmm_catch(AllocateContiguous, &Write, NULL));
    KitAssertValid();
}

static LDR_IMAGE *Image;
static void Load(void *Argument)
{
    CHAR Error[LDR_ERROR_CHARS];
    (void)Argument;
    assert_int_equal(LdrLoadImage("wx.sys", File, sizeof(File), &Image, Error, sizeof(Error)), STATUS_SUCCESS);
}

static void Images_WritableCodeAndImportsInCode(void **State)
{
    ntmm_bugcheck Stop;
    (void)State;
    PbBuild(File, 0);
    Load(NULL); /* an ordinary image is not accused */
    assert_int_equal(LdrUnloadImage(Image), STATUS_SUCCESS);
    PbPut32(File, PB_SEC(0, Characteristics),
            IMAGE_SCN_CNT_CODE | IMAGE_SCN_MEM_EXECUTE | IMAGE_SCN_MEM_READ | IMAGE_SCN_MEM_WRITE);
    assert_true(ntmm_catch(Load, NULL, &Stop));
    assert_int_equal(Stop.code, DRIVER_VERIFIER_DETECTED_VIOLATION);
    assert_int_equal(Stop.parameters[0], 0x2003);
    assert_string_equal((const char *)Stop.parameters[1], "wx.sys");
    assert_memory_equal((const void *)Stop.parameters[2], File + PB_SECTIONS, 40);
    assert_string_equal((const char *)Stop.parameters[3], ".text");
    assert_int_equal(LdrUnloadImage(Image), STATUS_SUCCESS);
    PbBuild(File, 0);
    PbPut32(File, PB_DIR(IMAGE_DIRECTORY_ENTRY_IAT), 0x1080);
    PbPut32(File, PB_DIR(IMAGE_DIRECTORY_ENTRY_IAT) + 4, 0x40);
    assert_true(ntmm_catch(Load, NULL, &Stop));
    assert_int_equal(Stop.parameters[0], 0x2005);
    assert_string_equal((const char *)Stop.parameters[1], "wx.sys");
    assert_memory_equal((const void *)Stop.parameters[2], File + PB_DIR(IMAGE_DIRECTORY_ENTRY_IAT), 8);
    assert_string_equal((const char *)Stop.parameters[3], ".text");
    assert_int_equal(LdrUnloadImage(Image), STATUS_SUCCESS);
    KitAssertValid();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Mappings_ExecutableOnesAreStops),
        cmocka_unit_test(Images_WritableCodeAndImportsInCode),
    };
    return cmocka_run_group_tests(Tests, Start, KitStop);
}
