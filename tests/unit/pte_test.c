/* pte_test.c - entries and page tables: src/mm/pte.h, src/mm/pte.c. SPDX-License-Identifier: MIT */
#include "mm_kit.h"

static void Constructors_EachForm_HasItsPredicateOnly(void **State)
{
    (void)State;
    MMPTE Forms[] = {MI_ZERO_PTE,
                     MiPteValid(0x12345, MI_PROT_READWRITE, FALSE),
                     MiPteDemandZero(MI_PROT_READWRITE),
                     MiPteTransition(0x12345, MI_PROT_READWRITE),
                     MiPtePageFile(3, 0x89ABCDEF, MI_PROT_READWRITE),
                     MiPtePrototype((PMMPTE)(ULONG_PTR)0x7F1234567890)};
    for (size_t Index = 0; Index < ARRAYSIZE(Forms); Index++) {
        assert_int_equal(MiPteIsZero(Forms[Index]), Index == 0);
        assert_int_equal(MiPteIsValid(Forms[Index]), Index == 1);
        assert_int_equal(MiPteIsDemandZero(Forms[Index]), Index == 2);
        assert_int_equal(MiPteIsTransition(Forms[Index]), Index == 3);
        assert_int_equal(MiPteIsPageFile(Forms[Index]), Index == 4);
        assert_int_equal(MiPteIsPrototype(Forms[Index]), Index == 5);
    }
    assert_int_equal(MiPtePage(Forms[1]), 0x12345);
    assert_int_equal(MiPtePage(Forms[3]), 0x12345);
    assert_int_equal(MiPteFileNumber(Forms[4]), 3);
    assert_int_equal(MiPteFileOffset(Forms[4]), 0x89ABCDEF);
    assert_ptr_equal(MiPtePrototypeAddress(Forms[5]), 0x7F1234567890);
}

static void Valid_EveryProtection_RoundTrips(void **State)
{
    (void)State;
    for (MI_PROT Protection = 1; Protection < 32; Protection++) {
        if (!MiProtAllowsAccess(Protection) || MiProtIsGuard(Protection) || (Protection & MI_PROT_BASE) == MI_PROT_EXECUTE) {
            continue; /* no valid form, or (execute alone) the MMU cannot say it */
        }
        MMPTE Pte = MiPteValid(7, Protection, FALSE);
        assert_int_equal(MiPteProtection(Pte), Protection);
        assert_int_equal(MiPteIsNoExecute(Pte), !MiProtAllowsExecute(Protection));
        assert_int_equal(MiPteIsWritable(Pte), MiProtAllowsWrite(Protection) && !MiProtIsCopyOnWrite(Protection));
        assert_int_equal(MiPteIsCopyOnWrite(Pte), MiProtIsCopyOnWrite(Protection));
        assert_false(MiPteIsUser(Pte));
        assert_true(MiPteIsUser(MiPteValid(7, Protection, TRUE)));
        assert_int_equal(MiPteProtection(MiPteDemandZero(Protection)), Protection);
        assert_int_equal(MiPteProtection(MiPteTransition(7, Protection)), Protection);
        assert_int_equal(MiPteProtection(MiPtePageFile(1, 2, Protection)), Protection);
    }
}

static void Valid_Hardware_IsTheArchitectures(void **State)
{
    (void)State;
    assert_int_equal(MiPteValid(0x1234, MI_PROT_READWRITE, FALSE).Long, 0x8000000001234063);
    assert_int_equal(MiPteValid(0x1234, MI_PROT_EXECUTE_READ, TRUE).Long, 0x0000000001234025);
    assert_int_equal(MiPteValid(0x1234, MI_PROT_READONLY | MI_PROT_NOCACHE, FALSE).Long, 0x8000000001234039);
    assert_int_equal(MiPteTable(0x1234).Long, 0x0000000001234027);
}

static void Protection_PageConstants_RoundTrip(void **State)
{
    (void)State;
    static const ULONG Good[] = {PAGE_NOACCESS,
                                 PAGE_READONLY,
                                 PAGE_READWRITE,
                                 PAGE_WRITECOPY,
                                 PAGE_EXECUTE,
                                 PAGE_EXECUTE_READ,
                                 PAGE_EXECUTE_READWRITE,
                                 PAGE_EXECUTE_WRITECOPY,
                                 PAGE_READWRITE | PAGE_GUARD,
                                 PAGE_READWRITE | PAGE_NOCACHE,
                                 PAGE_READONLY | PAGE_WRITECOMBINE};
    static const ULONG Bad[] = {0,
                                PAGE_READONLY | PAGE_READWRITE,
                                PAGE_GUARD,
                                PAGE_NOACCESS | PAGE_GUARD,
                                PAGE_READWRITE | PAGE_GUARD | PAGE_NOCACHE,
                                PAGE_READWRITE | 0x800,
                                0x10000};
    for (size_t Index = 0; Index < ARRAYSIZE(Good); Index++) {
        assert_int_equal(MiMakePageProtection(MiMakeProtection(Good[Index])), Good[Index]);
    }
    for (size_t Index = 0; Index < ARRAYSIZE(Bad); Index++) {
        assert_int_equal(MiMakeProtection(Bad[Index]), MI_PROT_INVALID);
    }
}

static void VaOfPte_EveryRegion_IsTheAddress(void **State)
{
    (void)State;
    for (MM_REGION Region = MmRegionNonPagedPool; Region < MmRegionUser; Region++) {
        PUCHAR Va = MmAllocatePages(Region, 3, 0, NormalPoolPriority);
        assert_non_null(Va);
        for (ULONG Page = 0; Page < 3; Page++) {
            assert_int_equal(MiVaOfPte(MiPteOf((ULONG_PTR)Va + Page * PAGE_SIZE)), (ULONG_PTR)Va + Page * PAGE_SIZE);
        }
        MmFreePages(Va, 3);
    }
}

static void Tables_RunAcrossATable_CountsItsEntries(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 1200, 0, NormalPoolPriority);
    assert_non_null(Va);
    KitAssertValid();
    PMMPTE Last = MiPteOf((ULONG_PTR)Va + 1199 * PAGE_SIZE);
    ULONG Used = MiPfn(HalWindowPage(Last))->u1.UsedEntries;
    assert_in_range(Used, 1, 512);
    MmFreePages(Va, 1200);
    assert_true(MiPfn(HalWindowPage(Last))->u1.UsedEntries < Used);
    assert_true(MiPteIsZero(MiReadPte(Last)));
    KitAssertValid();
}

static void Validate_WrongCount_IsNamed(void **State)
{
    (void)State;
    PUCHAR Va = MmAllocatePages(MmRegionNonPagedPool, 1, 0, NormalPoolPriority);
    PMMPTE Pte = MiPteOf((ULONG_PTR)Va);
    MiCountEntries(Pte, 1);
    assert_memory_equal(MiValidatePageTables(), "T1:", 3);
    MiCountEntries(Pte, -1);
    MMPTE Mine = MiReadPte(Pte);
    MiWritePte(Pte, MiReadPte(MiPteOfTableLevel((ULONG_PTR)Va, 2))); /* the page table's own frame */
    assert_memory_equal(MiValidatePageTables(), "T3:", 3);
    MiWritePte(Pte, Mine);
    KitAssertValid();
    MmFreePages(Va, 1);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Constructors_EachForm_HasItsPredicateOnly),
        cmocka_unit_test(Valid_EveryProtection_RoundTrips),
        cmocka_unit_test(Valid_Hardware_IsTheArchitectures),
        cmocka_unit_test(Protection_PageConstants_RoundTrip),
        cmocka_unit_test(VaOfPte_EveryRegion_IsTheAddress),
        cmocka_unit_test(Tables_RunAcrossATable_CountsItsEntries),
        cmocka_unit_test(Validate_WrongCount_IsNamed),
    };
    return cmocka_run_group_tests_name("pte", Tests, KitStart, KitStop);
}
