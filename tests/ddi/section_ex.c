/*
 * section_ex.c - the extended forms: views in place of placeholders, address requirements, nodes. SPDX-License-Identifier: MIT
 *
 * Pages: ZwMapViewOfSectionEx, NtCreateSectionEx, MapViewOfFile3, UnmapViewOfFile2, MEM_EXTENDED_PARAMETER.
 */
#include "section_kit.h"
#include "pe_builder.h"

static ULONG Nodes;

static NTSTATUS MapEx(HANDLE Section, PVOID *Base, LONGLONG At, SIZE_T Bytes, ULONG Type, ULONG Protect,
                      PMEM_EXTENDED_PARAMETER Parameters, ULONG Count)
{
    LARGE_INTEGER Offset = {.QuadPart = At};
    return ZwMapViewOfSectionEx(Section, OneHandle, Base, &Offset, &Bytes, Type, Protect, Parameters, Count);
}
static PUCHAR Placeholder(SIZE_T Bytes)
{
    PVOID Base = NULL;
    assert_int_equal(
        ZwAllocateVirtualMemoryEx(OneHandle, &Base, &Bytes, MEM_RESERVE | MEM_RESERVE_PLACEHOLDER, PAGE_NOACCESS, NULL, 0),
        STATUS_SUCCESS);
    return Base;
}
static NTSTATUS Free(PUCHAR Va, SIZE_T Size, ULONG Type)
{
    PVOID Base = Va;
    return ZwFreeVirtualMemory(OneHandle, &Base, &Size, Type);
}
static void ExpectRange(PUCHAR Va, PUCHAR Base, ULONG RangeState, ULONG Type)
{
    MEMORY_BASIC_INFORMATION Info;
    assert_int_equal(ZwQueryVirtualMemory(OneHandle, Va, MemoryBasicInformation, &Info, sizeof Info, NULL), STATUS_SUCCESS);
    assert_ptr_equal(Info.AllocationBase, Base);
    assert_int_equal(Info.State, RangeState);
    assert_int_equal(Info.Type, Type);
}

/* "Replaces a placeholder with a mapped view ... BaseAddress and ViewSize must exactly match those of the placeholder ... The 64k alignment
 * requirements on Offset and BaseAddress do not apply when this flag is specified." */
static void View_TakesThePlaceOfAPlaceholder(void **State)
{
    (void)State;
    HANDLE Section = SkCreate(0x20000, PAGE_READWRITE, SEC_COMMIT, NULL, STATUS_SUCCESS);
    PUCHAR All = Placeholder(4 * PAGE_SIZE);
    PVOID Base = All + PAGE_SIZE;
    const ULONG Replace = MEM_REPLACE_PLACEHOLDER;
    /* it does not match yet */
    assert_int_equal(MapEx(Section, &Base, 0, PAGE_SIZE, Replace, PAGE_READWRITE, NULL, 0), STATUS_CONFLICTING_ADDRESSES);
    assert_int_equal(Free(All + PAGE_SIZE, PAGE_SIZE, MEM_RELEASE | MEM_PRESERVE_PLACEHOLDER), STATUS_SUCCESS);
    assert_int_equal(MapEx(Section, &Base, 0, 2 * PAGE_SIZE, Replace, PAGE_READWRITE, NULL, 0), STATUS_CONFLICTING_ADDRESSES);
    assert_int_equal(MapEx(Section, &Base, 0x800, PAGE_SIZE, Replace, PAGE_READWRITE, NULL, 0), STATUS_MAPPED_ALIGNMENT);
    assert_int_equal(MapEx(Section, &Base, 0x3000, PAGE_SIZE, Replace, PAGE_READWRITE, NULL, 0), STATUS_SUCCESS);
    ExpectRange(All + PAGE_SIZE, All + PAGE_SIZE, MEM_COMMIT, MEM_MAPPED);
    ExpectRange(All, All, MEM_RESERVE, MEM_PRIVATE);
    PVOID Whole = NULL;
    assert_int_equal(MapEx(Section, &Whole, 0, 0, 0, PAGE_READWRITE, NULL, 0), STATUS_SUCCESS);
    INSIDE(One)
    {
        All[PAGE_SIZE + 5] = 0x42;
        assert_int_equal(((PUCHAR)Whole)[0x3005], 0x42);
        assert_int_equal(KitExceptionOf(All, 'r'), STATUS_ACCESS_VIOLATION);
    }
    KitAssertValid();
    assert_int_equal(MapEx(Section, &Base, 0, PAGE_SIZE, Replace, PAGE_READWRITE, NULL, 0),
                     STATUS_CONFLICTING_ADDRESSES); /* it is none any more */
    assert_int_equal(Free(All + PAGE_SIZE, PAGE_SIZE, MEM_RELEASE | MEM_PRESERVE_PLACEHOLDER), STATUS_CONFLICTING_ADDRESSES);

    /* "MEM_PRESERVE_PLACEHOLDER: unmaps a mapped view back to a placeholder (after you've replaced a placeholder with a mapped view)" */
    assert_int_equal(ZwUnmapViewOfSectionEx(OneHandle, Whole, MEM_PRESERVE_PLACEHOLDER), STATUS_CONFLICTING_ADDRESSES);
    assert_int_equal(ZwUnmapViewOfSectionEx(OneHandle, Base, 4), STATUS_INVALID_PARAMETER_3);
    assert_int_equal(ZwUnmapViewOfSectionEx(OneHandle, Base, MEM_PRESERVE_PLACEHOLDER), STATUS_SUCCESS);
    ExpectRange(All + PAGE_SIZE, All + PAGE_SIZE, MEM_RESERVE, MEM_PRIVATE);
    assert_int_equal(ZwUnmapViewOfSectionEx(OneHandle, Base, 0), STATUS_NOT_MAPPED_VIEW);
    assert_int_equal(Free(All, 4 * PAGE_SIZE, MEM_RELEASE | MEM_COALESCE_PLACEHOLDERS), STATUS_SUCCESS);
    Base = All; /* and the whole of it */
    assert_int_equal(MapEx(Section, &Base, 0x1000, 4 * PAGE_SIZE, Replace, PAGE_READONLY, NULL, 0), STATUS_SUCCESS);
    INSIDE(One)
    {
        assert_int_equal(All[0x2005], 0x42);
    }
    assert_int_equal(NtUnmapViewOfSectionEx(OneHandle, All + 0x3000, MEM_UNMAP_WITH_TRANSIENT_BOOST), STATUS_SUCCESS);
    ExpectRange(All, NULL, MEM_FREE, 0); /* without the flag, nothing is left */
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, Whole), STATUS_SUCCESS);
    ZwClose(Section);

    /* "Only data/pf-backed section views are supported (no images, physical memory, etc.)" */
    PbBuild(SkBytes, 0);
    SkSize = PB_FILE_SIZE;
    HANDLE File = SkOpen(GENERIC_READ), Image = SkCreate(0, PAGE_READONLY, SEC_IMAGE, File, STATUS_SUCCESS);
    Base = Placeholder(0x6000);
    assert_int_equal(MapEx(Image, &Base, 0, 0x6000, Replace, PAGE_READONLY, NULL, 0), STATUS_INVALID_PARAMETER_6);
    assert_int_equal(Free(Base, 0, MEM_RELEASE), STATUS_SUCCESS);
    Base = NULL;
    MEM_EXTENDED_PARAMETER Machine = {{.Type = MemExtendedParameterImageMachine}, {.ULong = 0x8664}};
    assert_int_equal(MapEx(Image, &Base, 0, 0, MEM_DIFFERENT_IMAGE_BASE_OK, PAGE_READONLY, &Machine, 1),
                     STATUS_IMAGE_NOT_AT_BASE);
    assert_int_equal(ZwUnmapViewOfSectionEx(OneHandle, Base, 0), STATUS_SUCCESS);
    Base = NULL;
    Machine.ULong = 0x14C;
    assert_int_equal(MapEx(Image, &Base, 0, 0, 0, PAGE_READONLY, &Machine, 1), STATUS_NOT_SUPPORTED);
    ZwClose(Image), ZwClose(File);
}

static void MapEx_Parameters(void **State)
{
    (void)State;
    HANDLE Section = SkCreate(0x20000, PAGE_READWRITE, SEC_COMMIT, NULL, STATUS_SUCCESS);
    MM_SPACE_INFO Space;
    MmQuerySpace(One->Space, &Space);
    PVOID Base = NULL;
    MEM_ADDRESS_REQUIREMENTS Wanted = {.LowestStartingAddress = (PVOID)(Space.Low + 0x4000000),
                                       .HighestEndingAddress = (PVOID)(Space.Low + 0x7FFFFFF),
                                       .Alignment = 0x400000};
    MEM_EXTENDED_PARAMETER Two_[2] = {{{.Type = MemExtendedParameterAddressRequirements}, {.Pointer = &Wanted}},
                                      {{.Type = MemExtendedParameterNumaNode}, {.ULong = 0}}};
    assert_int_equal(MapEx(Section, &Base, 0, 0, MEM_TOP_DOWN, PAGE_READWRITE, Two_, 2), STATUS_SUCCESS);
    assert_int_equal((ULONG_PTR)Base & 0x3FFFFF, 0);
    assert_int_equal((ULONG_PTR)Base, Space.Low + 0x7C00000);
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, Base), STATUS_SUCCESS);
    assert_int_equal(MapEx(Section, &Base, 0, 0, 0, PAGE_READWRITE, Two_, 2), STATUS_INVALID_PARAMETER); /* with a base, too */
    Base = NULL;
    Two_[1].ULong = 64; /* no such node */
    assert_int_equal(MapEx(Section, &Base, 0, 0, 0, PAGE_READWRITE, Two_, 2), STATUS_INVALID_PARAMETER);
    Two_[1] = Two_[0]; /* one of a type */
    assert_int_equal(MapEx(Section, &Base, 0, 0, 0, PAGE_READWRITE, Two_, 2), STATUS_INVALID_PARAMETER);
    Two_[1] = (MEM_EXTENDED_PARAMETER){{.Type = MemExtendedParameterAttributeFlags}, {.ULong64 = 1}};
    assert_int_equal(MapEx(Section, &Base, 0, 0, 0, PAGE_READWRITE, Two_, 2), STATUS_NOT_SUPPORTED);
    Two_[1].Type = MemExtendedParameterMax;
    assert_int_equal(MapEx(Section, &Base, 0, 0, 0, PAGE_READWRITE, Two_, 2), STATUS_INVALID_PARAMETER);
    assert_int_equal(MapEx(Section, &Base, 0, 0, 0, PAGE_READWRITE, NULL, 1), STATUS_INVALID_PARAMETER);
    /* "The valid flags are ... Although MEM_COMMIT is not allowed" */
    assert_int_equal(MapEx(Section, &Base, 0, 0, MEM_COMMIT, PAGE_READWRITE, NULL, 0), STATUS_INVALID_PARAMETER_6);
    assert_int_equal(MapEx(Section, &Base, 0, 0, MEM_LARGE_PAGES, PAGE_READWRITE, NULL, 0), STATUS_INVALID_PARAMETER_6);
    assert_int_equal(MapEx(Section, &Base, 0, 0, 0, 0x77, NULL, 0), STATUS_INVALID_PAGE_PROTECTION);
    assert_int_equal(MapEx(Section, &Base, 0, 0, 0, PAGE_EXECUTE_READ, NULL, 0), STATUS_SECTION_PROTECTION);
    SIZE_T Size = 0;
    assert_int_equal(NtMapViewOfSectionEx(Section, OneHandle, &Base, NULL, &Size, 0, PAGE_READWRITE, NULL, 0), STATUS_SUCCESS);
    assert_int_equal(Size, 0x20000);
    PVOID Again = Base;
    assert_int_equal(MapEx(Section, &Again, 0, 0, 0, PAGE_READWRITE, NULL, 0), STATUS_CONFLICTING_ADDRESSES);
    assert_int_equal(ZwUnmapViewOfSection(OneHandle, Base), STATUS_SUCCESS);
    ZwClose(Section);
}

/* "Always sets the cache type of the mapped pages to match the cache type supplied when the section object was created." */
static void CacheType_IsTheSections(void **State)
{
    (void)State;
    MEMORY_BASIC_INFORMATION Info;
    static const struct {
        ULONG Attributes, Asked, Expected;
    } Cases[] = {{SEC_NOCACHE, 0, PAGE_NOCACHE},
                 {SEC_NOCACHE, PAGE_NOCACHE, PAGE_NOCACHE},
                 {0, PAGE_NOCACHE, 0},
                 {SEC_WRITECOMBINE, PAGE_NOCACHE, PAGE_WRITECOMBINE}};
    for (ULONG Case = 0; Case < ARRAYSIZE(Cases); Case++) {
        HANDLE Section = SkCreate(0x10000, PAGE_READWRITE, SEC_COMMIT | Cases[Case].Attributes, NULL, STATUS_SUCCESS);
        PVOID Base = NULL;
        assert_int_equal(MapEx(Section, &Base, 0, 0, 0, PAGE_READWRITE | Cases[Case].Asked, NULL, 0), STATUS_SUCCESS);
        INSIDE(One)
        {
            *(volatile UCHAR *)Base = 1;
        }
        assert_int_equal(ZwQueryVirtualMemory(OneHandle, Base, MemoryBasicInformation, &Info, sizeof Info, NULL),
                         STATUS_SUCCESS);
        assert_int_equal(Info.Protect, PAGE_READWRITE | Cases[Case].Expected);
        assert_int_equal(ZwUnmapViewOfSection(OneHandle, Base), STATUS_SUCCESS);
        ZwClose(Section);
    }
}

static HANDLE CreateEx(PMEM_EXTENDED_PARAMETER Parameters, ULONG Count, HANDLE File, NTSTATUS Expected)
{
    HANDLE Section = NULL;
    LARGE_INTEGER Size = {.QuadPart = 0x40000};
    OBJECT_ATTRIBUTES Names;
    InitializeObjectAttributes(&Names, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    assert_int_equal(
        ZwCreateSectionEx(&Section, SECTION_ALL_ACCESS, &Names, &Size, PAGE_READWRITE, SEC_COMMIT, File, Parameters, Count),
        Expected);
    return Section;
}

/* A section's node, else a view's, is where the pages come from that are touched first through it. */
static void Node_IsHonoured(void **State)
{
    (void)State;
    MEM_EXTENDED_PARAMETER Node = {{.Type = MemSectionExtendedParameterNumaNode}, {.ULong = 1}};
    SkSize = 0x40000;
    HANDLE File = SkOpen(GENERIC_READ | GENERIC_WRITE), Sections[2] = {CreateEx(&Node, 1, NULL, STATUS_SUCCESS), NULL};
    Sections[1] = CreateEx(&Node, 1, File, STATUS_SUCCESS);
    for (ULONG Section = 0; Section < 2; Section++) {
        PUCHAR A = SkMap(Sections[Section], OneHandle, 0, 0, PAGE_READWRITE);
        INSIDE(One)
        {
            for (ULONG Page = 0; Page < 0x40; Page += 3) {
                *(volatile UCHAR *)(A + Page * PAGE_SIZE) += 1;
                assert_int_equal(MmNodeOfPage(MiPtePage(SkEntry(A + Page * PAGE_SIZE))), 1);
            }
        }
        assert_int_equal(ZwUnmapViewOfSection(OneHandle, A), STATUS_SUCCESS);
        ZwClose(Sections[Section]);
    }
    ZwClose(File);
    /* the view's, where the section has none: either node, whichever is the thread's */
    for (ULONG Wanted = 0; Wanted < 2; Wanted++) {
        HANDLE Section = CreateEx(NULL, 0, NULL, STATUS_SUCCESS);
        PVOID Base = NULL;
        Node.ULong = Wanted;
        assert_int_equal(MapEx(Section, &Base, 0, 0, 0, PAGE_READWRITE, &Node, 1), STATUS_SUCCESS);
        INSIDE(One)
        {
            for (ULONG Page = 0; Page < 0x40; Page++) {
                PUCHAR At = (PUCHAR)Base + Page * PAGE_SIZE;
                *(volatile UCHAR *)At = 1;
                assert_int_equal(MmNodeOfPage(MiPtePage(SkEntry(At))), Wanted);
            }
        }
        KitAssertValid();
        assert_int_equal(ZwUnmapViewOfSection(OneHandle, Base), STATUS_SUCCESS);
        ZwClose(Section);
    }
    Node.ULong = 2;
    CreateEx(&Node, 1, NULL, STATUS_INVALID_PARAMETER);
    Node.Type = MemSectionExtendedParameterSigningLevel;
    CreateEx(&Node, 1, NULL, STATUS_NOT_SUPPORTED);
    Node.Type = MemSectionExtendedParameterMax;
    CreateEx(&Node, 1, NULL, STATUS_INVALID_PARAMETER);
    CreateEx(NULL, 1, NULL, STATUS_INVALID_PARAMETER);
    /* "Only one instance of an extended parameter can be specified." */
    MEM_EXTENDED_PARAMETER Twice[2] = {{{.Type = MemSectionExtendedParameterNumaNode}, {.ULong = 0}},
                                       {{.Type = MemSectionExtendedParameterNumaNode}, {.ULong = 0}}};
    CreateEx(Twice, 2, NULL, STATUS_INVALID_PARAMETER);
    HANDLE Section = NULL;
    LARGE_INTEGER Size = {.QuadPart = PAGE_SIZE};
    OBJECT_ATTRIBUTES Names;
    InitializeObjectAttributes(&Names, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    assert_int_equal(NtCreateSectionEx(&Section, SECTION_ALL_ACCESS, &Names, &Size, PAGE_READWRITE, SEC_COMMIT, NULL, Twice, 1),
                     STATUS_SUCCESS);
    ZwClose(Section);
}

static int StartWith(ULONG Count)
{
    Nodes = Count;
    ntmm_options Options = SkOptions();
    Options.nodes = Nodes;
    return SkStart(&Options);
}
static int Start(void **State)
{
    (void)State;
    return StartWith(1);
}
static int StartWithTwoNodes(void **State)
{
    (void)State;
    return StartWith(2);
}

int main(void)
{
#define WITH(Test) cmocka_unit_test_setup_teardown(Test, Start, SkStop)
    const struct CMUnitTest Tests[] = {
        WITH(View_TakesThePlaceOfAPlaceholder),
        WITH(MapEx_Parameters),
        WITH(CacheType_IsTheSections),
        cmocka_unit_test_setup_teardown(Node_IsHonoured, StartWithTwoNodes, SkStop),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
