/*
 * placeholders.c - reserving a range and dividing it later. SPDX-License-Identifier: MIT
 *
 * Pages: VirtualAlloc2 and VirtualFreeEx, whose services are ZwAllocateVirtualMemoryEx and ZwFreeVirtualMemory.
 */
#include "mm_kit.h"
#include "mm/vm.h"

static const HANDLE Who = (HANDLE)(LONG_PTR)-1;
#define K16 (16 * PAGE_SIZE)

static NTSTATUS Allocate(PVOID *Base, SIZE_T Size, ULONG Type, ULONG Protect)
{
    return ZwAllocateVirtualMemoryEx(Who, Base, &Size, Type, Protect, NULL, 0);
}
static NTSTATUS Free(PUCHAR Va, SIZE_T Size, ULONG Type)
{
    PVOID Base = Va;
    return ZwFreeVirtualMemory(Who, &Base, &Size, Type);
}
static PUCHAR Placeholder(SIZE_T Size)
{
    PVOID Base = NULL;
    assert_int_equal(Allocate(&Base, Size, MEM_RESERVE | MEM_RESERVE_PLACEHOLDER, PAGE_NOACCESS), STATUS_SUCCESS);
    return Base;
}
static void ExpectRange(PUCHAR Va, PUCHAR Base, ULONG State)
{
    MEMORY_BASIC_INFORMATION Info;
    assert_int_equal(ZwQueryVirtualMemory(Who, Va, MemoryBasicInformation, &Info, sizeof Info, NULL), STATUS_SUCCESS);
    assert_int_equal(Info.State, State);
    assert_ptr_equal(Info.AllocationBase, Base);
}

static void Placeholder_NothingCanBeCommittedInIt(void **State)
{
    (void)State;
    PUCHAR Va = Placeholder(K16);
    PVOID Base = Va;
    ExpectRange(Va, Va, MEM_RESERVE);
    assert_int_equal(Allocate(&Base, PAGE_SIZE, MEM_COMMIT, PAGE_READWRITE), STATUS_CONFLICTING_ADDRESSES);
    assert_int_equal(Allocate(&Base, PAGE_SIZE, MEM_RESERVE, PAGE_READWRITE), STATUS_CONFLICTING_ADDRESSES);
    KIT_EXCEPTION_OF(Va, 'w', STATUS_ACCESS_VIOLATION);
    assert_int_equal(Free(Va, 0, MEM_RELEASE), STATUS_SUCCESS);
    ExpectRange(Va, NULL, MEM_FREE);
}

/* "To split a placeholder into two placeholders, specify MEM_RELEASE | MEM_PRESERVE_PLACEHOLDER." */
static void Split_ThenCoalesce(void **State)
{
    (void)State;
    PUCHAR Va = Placeholder(K16);
    assert_int_equal(Free(Va + 4 * PAGE_SIZE, 2 * PAGE_SIZE, MEM_RELEASE | MEM_PRESERVE_PLACEHOLDER), STATUS_SUCCESS);
    ExpectRange(Va + PAGE_SIZE, Va, MEM_RESERVE);
    ExpectRange(Va + 5 * PAGE_SIZE, Va + 4 * PAGE_SIZE, MEM_RESERVE);
    ExpectRange(Va + 15 * PAGE_SIZE, Va + 6 * PAGE_SIZE, MEM_RESERVE);
    KitAssertValid();
    assert_int_equal(Free(Va, 2 * PAGE_SIZE, MEM_RELEASE | MEM_PRESERVE_PLACEHOLDER), STATUS_SUCCESS); /* at the beginning */
    ExpectRange(Va + 3 * PAGE_SIZE, Va + 2 * PAGE_SIZE, MEM_RESERVE);
    assert_int_equal(Free(Va, 2 * PAGE_SIZE, MEM_RELEASE | MEM_PRESERVE_PLACEHOLDER),
                     STATUS_CONFLICTING_ADDRESSES); /* all of one */
    assert_int_equal(Free(Va, 3 * PAGE_SIZE, MEM_RELEASE | MEM_PRESERVE_PLACEHOLDER), STATUS_CONFLICTING_ADDRESSES); /* two */

    /* "lpAddress and dwSize must exactly match the overall range of the placeholders" */
    assert_int_equal(Free(Va, 5 * PAGE_SIZE, MEM_RELEASE | MEM_COALESCE_PLACEHOLDERS), STATUS_CONFLICTING_ADDRESSES);
    assert_int_equal(Free(Va + PAGE_SIZE, 3 * PAGE_SIZE, MEM_RELEASE | MEM_COALESCE_PLACEHOLDERS),
                     STATUS_CONFLICTING_ADDRESSES);
    assert_int_equal(Free(Va, 2 * PAGE_SIZE, MEM_RELEASE | MEM_COALESCE_PLACEHOLDERS),
                     STATUS_CONFLICTING_ADDRESSES); /* one alone */
    assert_int_equal(Free(Va, K16, MEM_RELEASE | MEM_COALESCE_PLACEHOLDERS), STATUS_SUCCESS);
    ExpectRange(Va + 15 * PAGE_SIZE, Va, MEM_RESERVE);
    KitAssertValid();
    assert_int_equal(Free(Va, 0, MEM_RELEASE), STATUS_SUCCESS);
    ExpectRange(Va + 15 * PAGE_SIZE, NULL, MEM_FREE);
    KitAssertValid();
}

/* "Replaces a placeholder with a normal private allocation ... BaseAddress and Size must exactly match those of the placeholder"; and back. */
static void Replace_AndBack(void **State)
{
    (void)State;
    PUCHAR Va = Placeholder(K16);
    assert_int_equal(Free(Va + 4 * PAGE_SIZE, 2 * PAGE_SIZE, MEM_RELEASE | MEM_PRESERVE_PLACEHOLDER), STATUS_SUCCESS);
    PVOID Base = Va + 4 * PAGE_SIZE;
    const ULONG Replace = MEM_RESERVE | MEM_COMMIT | MEM_REPLACE_PLACEHOLDER;
    assert_int_equal(Allocate(&Base, PAGE_SIZE, Replace, PAGE_READWRITE), STATUS_CONFLICTING_ADDRESSES);
    assert_int_equal(Allocate(&Base, 3 * PAGE_SIZE, Replace, PAGE_READWRITE), STATUS_CONFLICTING_ADDRESSES);
    assert_int_equal(Allocate(&Base, 2 * PAGE_SIZE, Replace, PAGE_READWRITE), STATUS_SUCCESS);
    assert_ptr_equal(Base, Va + 4 * PAGE_SIZE);
    ExpectRange(Base, Base, MEM_COMMIT);
    *(volatile UCHAR *)Base = 5;
    assert_int_equal(Allocate(&Base, 2 * PAGE_SIZE, Replace, PAGE_READWRITE),
                     STATUS_CONFLICTING_ADDRESSES); /* not one any more */
    assert_int_equal(Free(Va, K16, MEM_RELEASE | MEM_COALESCE_PLACEHOLDERS), STATUS_CONFLICTING_ADDRESSES);
    assert_int_equal(Free(Base, PAGE_SIZE, MEM_RELEASE | MEM_PRESERVE_PLACEHOLDER), STATUS_CONFLICTING_ADDRESSES);

    /* "Frees an allocation back to a placeholder (after you've replaced a placeholder with a private allocation)" */
    assert_int_equal(Free(Base, 2 * PAGE_SIZE, MEM_RELEASE | MEM_PRESERVE_PLACEHOLDER), STATUS_SUCCESS);
    ExpectRange(Base, Base, MEM_RESERVE);
    KIT_EXCEPTION_OF(Base, 'r', STATUS_ACCESS_VIOLATION);
    assert_int_equal(Allocate(&Base, 2 * PAGE_SIZE, MEM_RESERVE | MEM_REPLACE_PLACEHOLDER, PAGE_READWRITE), STATUS_SUCCESS);
    ExpectRange(Base, Base, MEM_RESERVE);
    assert_int_equal(Allocate(&Base, PAGE_SIZE, MEM_COMMIT, PAGE_READWRITE), STATUS_SUCCESS);
    assert_int_equal(*(volatile UCHAR *)Base, 0);
    assert_int_equal(Free(Base, 2 * PAGE_SIZE, MEM_RELEASE | MEM_PRESERVE_PLACEHOLDER), STATUS_SUCCESS);
    assert_int_equal(Free(Va, K16, MEM_RELEASE | MEM_COALESCE_PLACEHOLDERS), STATUS_SUCCESS);
    KitAssertValid();
    assert_int_equal(Free(Va, 0, MEM_RELEASE), STATUS_SUCCESS);
}

static void BadArguments(void **State)
{
    (void)State;
    static const struct {
        ULONG Type, Protect;
        NTSTATUS Status;
    } Bad[] = {
        {MEM_RESERVE | MEM_RESERVE_PLACEHOLDER, PAGE_READWRITE, STATUS_INVALID_PAGE_PROTECTION},
        {MEM_RESERVE_PLACEHOLDER, PAGE_NOACCESS, STATUS_INVALID_PARAMETER_5},
        {MEM_RESERVE | MEM_COMMIT | MEM_RESERVE_PLACEHOLDER, PAGE_NOACCESS, STATUS_INVALID_PARAMETER_5},
        {MEM_RESERVE | MEM_RESERVE_PLACEHOLDER | MEM_REPLACE_PLACEHOLDER, PAGE_NOACCESS, STATUS_INVALID_PARAMETER_5},
        {MEM_COMMIT | MEM_REPLACE_PLACEHOLDER, PAGE_READWRITE, STATUS_INVALID_PARAMETER_5},
        {MEM_RESERVE | MEM_REPLACE_PLACEHOLDER, PAGE_READWRITE, STATUS_CONFLICTING_ADDRESSES},
    };
    PVOID Base = NULL;
    for (ULONG i = 0; i < ARRAYSIZE(Bad); i++) {
        assert_int_equal(Allocate(&Base, K16, Bad[i].Type, Bad[i].Protect), Bad[i].Status);
    }
    PUCHAR Va = Placeholder(K16);
    assert_int_equal(Free(Va, 0, MEM_RELEASE | MEM_PRESERVE_PLACEHOLDER), STATUS_INVALID_PARAMETER_3);
    assert_int_equal(Free(Va, PAGE_SIZE, MEM_DECOMMIT | MEM_PRESERVE_PLACEHOLDER), STATUS_INVALID_PARAMETER_4);
    assert_int_equal(Free(Va, PAGE_SIZE, MEM_RELEASE | MEM_PRESERVE_PLACEHOLDER | MEM_COALESCE_PLACEHOLDERS),
                     STATUS_INVALID_PARAMETER_4);
    assert_int_equal(Free(Va, 0, MEM_RELEASE), STATUS_SUCCESS);
    assert_int_equal(Allocate(&Base, K16, MEM_RESERVE, PAGE_READWRITE), STATUS_SUCCESS); /* never a placeholder */
    assert_int_equal(Free(Base, K16, MEM_RELEASE | MEM_PRESERVE_PLACEHOLDER), STATUS_CONFLICTING_ADDRESSES);
    assert_int_equal(Free(Base, 0, MEM_RELEASE), STATUS_SUCCESS);
}

/* "any provided MEM_ADDRESS_REQUIREMENTS": where an allocation may lie. */
static void AddressRequirements_AreMet(void **State)
{
    (void)State;
    ULONG_PTR Low = MiState->Spaces[0].Hal.Low + (512u << 20), High = Low + (1u << 20) - 1;
    MEM_ADDRESS_REQUIREMENTS Wanted = {(PVOID)Low, (PVOID)High, 0x40000};
    MEM_EXTENDED_PARAMETER Parameter = {.Type = MemExtendedParameterAddressRequirements, .Pointer = &Wanted};
    PVOID Base[5] = {NULL};
    SIZE_T Size = K16;
    for (ULONG i = 0; i < 4; i++) {
        assert_int_equal(ZwAllocateVirtualMemoryEx(Who, &Base[i], &Size, MEM_RESERVE, PAGE_READWRITE, &Parameter, 1),
                         STATUS_SUCCESS);
        assert_true((ULONG_PTR)Base[i] >= Low && (ULONG_PTR)Base[i] + Size - 1 <= High);
        assert_int_equal((ULONG_PTR)Base[i] & 0x3FFFF, 0);
    }
    assert_int_equal(ZwAllocateVirtualMemoryEx(Who, &Base[4], &Size, MEM_RESERVE, PAGE_READWRITE, &Parameter, 1),
                     STATUS_NO_MEMORY);
    for (ULONG i = 0; i < 4; i++) {
        assert_int_equal(Free(Base[i], 0, MEM_RELEASE), STATUS_SUCCESS);
    }
    Base[0] =
        (PVOID)Low; /* "If BaseAddress is not NULL, then any provided MEM_ADDRESS_REQUIREMENTS must consist of all zeroes" */
    assert_int_equal(ZwAllocateVirtualMemoryEx(Who, &Base[0], &Size, MEM_RESERVE, PAGE_READWRITE, &Parameter, 1),
                     STATUS_INVALID_PARAMETER);
    Wanted.Alignment = 0x30000;
    Base[0] = NULL;
    assert_int_equal(ZwAllocateVirtualMemoryEx(Who, &Base[0], &Size, MEM_RESERVE, PAGE_READWRITE, &Parameter, 1),
                     STATUS_INVALID_PARAMETER);
}

#define TEST(Name) cmocka_unit_test(Name)
int main(void)
{
    const struct CMUnitTest Tests[] = {
        TEST(Placeholder_NothingCanBeCommittedInIt),
        TEST(Split_ThenCoalesce),
        TEST(Replace_AndBack),
        TEST(BadArguments),
        TEST(AddressRequirements_AreMet),
    };
    return cmocka_run_group_tests(Tests, KitStart, KitStop);
}
