/* mmu.c - points 4 and 6 of the contract: the tables are walked, bits are set, error codes, address spaces.
 * SPDX-License-Identifier: MIT */
#include "hal/kit.h"

#define BASE 100u
#define AD   (KIT_A | KIT_D)

static VOID Refuse(HAL_TRAP_FRAME *Frame)
{
    KitRefuse(Frame);
}

static void Walk_PresentPage_ReadsAndWritesItsFrame(void **State)
{
    (void)State;
    KitMap(KitVa(BASE), KIT_DATA + 7, KIT_RW);
    KitFrame(KIT_DATA + 7)[3] = 0x1234567;
    assert_int_equal(KitRead(KitVa(BASE) + 24), 0x1234567);
    KitWrite(KitVa(BASE) + 32, 0x89ABC);
    assert_int_equal(KitFrame(KIT_DATA + 7)[4], 0x89ABC);
    assert_int_equal(Kit.Count, 0);
}

static void Walk_DevicePage_IsReached(void **State)
{
    (void)State;
    KitMap(KitVa(BASE), KIT_DEVICE + 2, KIT_RW);
    KitWrite(KitVa(BASE), 99);
    assert_int_equal(KitFrame(KIT_DEVICE + 2)[0], 99);
}

static void Walk_TwoAddressesOfOneFrame_AreTheSameMemory(void **State)
{
    (void)State;
    KitMap(KitVa(BASE), KIT_DATA + 7, KIT_RW);
    KitMap(KitVa(BASE + 5000), KIT_DATA + 7, KIT_RW);
    KitWrite(KitVa(BASE) + 8, 11);
    assert_int_equal(KitRead(KitVa(BASE + 5000) + 8), 11);
    KitWrite(KitVa(BASE + 5000) + 8, 12);
    assert_int_equal(KitRead(KitVa(BASE) + 8), 12);
}

static VOID MapAtFault(HAL_TRAP_FRAME *Frame)
{
    KitMap(Frame->FaultAddress & ~0xFFFull, KIT_DATA + 20, KIT_RW);
}
static void Fault_DemandZero_UpcallMapsAndTheAccessGoesOn(void **State)
{
    (void)State;
    KitOnFault = MapAtFault;
    KitWrite(KitVa(BASE + 1) + 8, 42);
    assert_int_equal(Kit.Count, 1);
    assert_int_equal(Kit.Last.Vector, 14);
    assert_int_equal(Kit.Last.FaultAddress, KitVa(BASE + 1) + 8);
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_WRITE);
    assert_int_equal(KitFrame(KIT_DATA + 20)[1], 42);
}

static void Errors_ComeFromTheWalk(void **State)
{
    (void)State;
    ULONG64 Value;
    KitOnFault = Refuse;
    assert_false(KitTryRead(KitVa(BASE), &Value));
    assert_int_equal(Kit.Last.ErrorCode, 0);
    assert_false(KitTryWrite(KitVa(BASE), 1));
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_WRITE);
    assert_false(KitTryFetch(KitVa(BASE)));
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_FETCH);
    KitMap(KitVa(BASE), KIT_DATA, KIT_P | KIT_NX);
    assert_true(KitTryRead(KitVa(BASE), &Value));
    assert_false(KitTryWrite(KitVa(BASE), 1));
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_WRITE | HALP_FAULT_PROTECTION);
    assert_false(KitTryFetch(KitVa(BASE)));
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_FETCH | HALP_FAULT_PROTECTION);
    assert_int_equal(Kit.Count, 5);
}

static void Bits_AnyLevelMayForbid(void **State)
{
    (void)State;
    ULONG64 Value;
    KitOnFault = Refuse;
    KitFrame(KIT_DATA)[0] = 0xC3; /* ret */
    KitMap(KitVa(BASE), KIT_DATA, KIT_RW);
    volatile ULONG64 *Pde = KitPde(KitVa(BASE));
    ULONG64 Whole = *Pde;
    assert_true(KitTryFetch(KitVa(BASE)));
    *Pde = Whole & ~KIT_W;
    HalFlushTb((PVOID)KitVa(BASE), 1);
    assert_true(KitTryRead(KitVa(BASE), &Value));
    assert_false(KitTryWrite(KitVa(BASE), 1));
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_WRITE | HALP_FAULT_PROTECTION);
    *Pde = Whole | KIT_NX;
    HalFlushTb((PVOID)KitVa(BASE), 1);
    assert_true(KitTryWrite(KitVa(BASE), 0xC3));
    assert_false(KitTryFetch(KitVa(BASE)));
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_FETCH | HALP_FAULT_PROTECTION);
    *Pde = Whole & ~KIT_P;
    HalFlushTb((PVOID)KitVa(BASE), 1);
    assert_false(KitTryRead(KitVa(BASE), &Value));
    assert_int_equal(Kit.Last.ErrorCode, 0);
    *Pde = Whole;
}

static void Accessed_IsSetAtEveryLevel_DirtyOnlyByAWrite(void **State)
{
    (void)State;
    KitMap(KitVa(BASE), KIT_DATA, KIT_RW);
    volatile ULONG64 *Pde = KitPde(KitVa(BASE)), *Pte = KitPte(KitVa(BASE));
    ULONG64 *Top = &KitFrame(KitRoot())[(KitVa(BASE) >> 39) & 511];
    ULONG64 *Ppe = &KitFrame(HalpPteFrame(*Top))[(KitVa(BASE) >> 30) & 511];
    assert_int_equal((*Top | *Ppe | *Pde | *Pte) & AD, 0);
    KitRead(KitVa(BASE));
    assert_int_equal(*Top & *Ppe & *Pde & *Pte & KIT_A, KIT_A);
    assert_int_equal(*Pte & KIT_D, 0);
    KitWrite(KitVa(BASE), 1);
    assert_int_equal(*Pte & AD, AD);
    assert_int_equal((*Top | *Ppe | *Pde) & KIT_D, 0);
    assert_int_equal(HalpPteFrame(*Pte), KIT_DATA);
}

static void Dirty_RefusedWrite_LeavesItClear(void **State)
{
    (void)State;
    KitOnFault = Refuse;
    KitMap(KitVa(BASE), KIT_DATA, KIT_P);
    assert_false(KitTryWrite(KitVa(BASE), 1));
    assert_int_equal(*KitPte(KitVa(BASE)) & AD, 0);
}

static void Dirty_ClearedAndFlushed_IsSetAgain(void **State)
{
    (void)State;
    KitMap(KitVa(BASE), KIT_DATA, KIT_RW);
    KitWrite(KitVa(BASE), 1);
    __atomic_and_fetch(KitPte(KitVa(BASE)), ~AD, __ATOMIC_SEQ_CST);
    HalFlushTb((PVOID)KitVa(BASE), 1);
    KitRead(KitVa(BASE));
    assert_int_equal(*KitPte(KitVa(BASE)) & AD, KIT_A);
    KitWrite(KitVa(BASE), 2);
    assert_int_equal(*KitPte(KitVa(BASE)) & AD, AD);
}

static void Accessed_OfNeighbours_IsLeftAlone(void **State)
{
    (void)State;
    for (ULONG i = 0; i < 32; i++) {
        KitMap(KitVa(BASE + i), KIT_DATA + i, KIT_RW);
    }
    KitWrite(KitVa(BASE + 9), 1);
    for (ULONG i = 0; i < 32; i++) {
        assert_int_equal(*KitPte(KitVa(BASE + i)) & AD, i == 9 ? AD : 0);
    }
}

static void Core_BitsOfAnEntry_AreKept(void **State)
{
    (void)State;
    ULONG64 Mine = (7ull << 9) | (0x7FFull << 52);
    KitMap(KitVa(BASE), KIT_DATA, KIT_RW | Mine);
    KitWrite(KitVa(BASE), 1);
    assert_int_equal(*KitPte(KitVa(BASE)), (KIT_DATA << 12) | KIT_RW | AD | Mine);
}

static void LargePage_IsWalked(void **State)
{
    (void)State;
    ULONG64 Value;
    ULONG_PTR Va = KitVa(512 * 4);
    PFN_NUMBER Frame = (KIT_DATA + 511) & ~511ull;
    *KitPde(Va) = (Frame << 12) | KIT_P | HALP_PTE_LARGE | KIT_NX;
    KitFrame(Frame + 300)[5] = 55;
    assert_int_equal(KitRead(Va + (300 << 12) + 40), 55);
    assert_int_equal(*KitPde(Va) & AD, KIT_A);
    KitOnFault = Refuse;
    assert_false(KitTryWrite(Va + (301 << 12), 1));
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_WRITE | HALP_FAULT_PROTECTION);
    *KitPde(Va) |= KIT_W;
    KitWrite(Va + (301 << 12), 66);
    assert_int_equal(KitFrame(Frame + 301)[0], 66);
    assert_int_equal(*KitPde(Va) & AD, AD);
    *KitPde(Va) = 0;
    HalFlushTb((PVOID)Va, 512);
    assert_false(KitTryRead(Va + (300 << 12), &Value));
    assert_int_equal(Kit.Last.ErrorCode, 0);
}

static void Frame_ThatDoesNotExist_IsAReservedBit(void **State)
{
    (void)State;
    ULONG64 Value;
    KitOnFault = Refuse;
    KitMap(KitVa(BASE), 4500, KIT_RW); /* in the hole */
    assert_false(KitTryRead(KitVa(BASE), &Value));
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_RESERVED | HALP_FAULT_PROTECTION);
    *KitPde(KitVa(BASE)) = (0xFFFFFFull << 12) | KIT_RW;
    assert_false(KitTryRead(KitVa(BASE), &Value));
    assert_int_equal(Kit.Last.ErrorCode, HALP_FAULT_RESERVED | HALP_FAULT_PROTECTION);
}

static void Flush_UntilThen_TheOldFrameIsSeen(void **State)
{
    (void)State;
    KitMap(KitVa(BASE), KIT_DATA, KIT_RW);
    KitFrame(KIT_DATA)[0] = 1;
    KitFrame(KIT_DATA + 1)[0] = 2;
    assert_int_equal(KitRead(KitVa(BASE)), 1);
    KitMap(KitVa(BASE), KIT_DATA + 1, KIT_RW);
    assert_int_equal(KitRead(KitVa(BASE)), 1);
    HalFlushTb((PVOID)KitVa(BASE), 1);
    assert_int_equal(KitRead(KitVa(BASE)), 2);
    KitMap(KitVa(BASE), KIT_DATA, KIT_RW);
    HalFlushEntireTb();
    assert_int_equal(KitRead(KitVa(BASE)), 1);
}

static void Flush_UntilThen_AnUnmappedPageIsSeen(void **State)
{
    (void)State;
    ULONG64 Value;
    KitMap(KitVa(BASE), KIT_DATA, KIT_RW);
    KitFrame(KIT_DATA)[0] = 1;
    assert_int_equal(KitRead(KitVa(BASE)), 1);
    KitUnmap(KitVa(BASE));
    assert_int_equal(KitRead(KitVa(BASE)), 1);
    HalFlushTb((PVOID)KitVa(BASE), 1);
    KitOnFault = Refuse;
    assert_false(KitTryRead(KitVa(BASE), &Value));
}

static void NotPresent_IsNeverCached(void **State)
{
    (void)State;
    ULONG64 Value;
    KitOnFault = Refuse;
    for (ULONG i = 0; i < 3; i++) {
        assert_false(KitTryRead(KitVa(BASE + i), &Value));
        KitMap(KitVa(BASE + i), KIT_DATA + i, KIT_RW);
        assert_true(KitTryRead(KitVa(BASE + i), &Value)); /* without a flush */
    }
    /* more permissive needs no flush either */
    KitMap(KitVa(BASE), KIT_DATA, KIT_P);
    HalFlushTb((PVOID)KitVa(BASE), 1);
    assert_false(KitTryWrite(KitVa(BASE), 1));
    KitMap(KitVa(BASE), KIT_DATA, KIT_RW);
    assert_true(KitTryWrite(KitVa(BASE), 1));
}

static void AddressSpace_Switch_DropsTheUsersTranslationsOnly(void **State)
{
    (void)State;
    ULONG64 Value;
    ULONG_PTR User = HalFacts.UserBase + (77 << 12);
    PFN_NUMBER First = KitRoot();
    KitMap(KitVa(BASE), KIT_DATA, KIT_RW);
    KitMap(User, KIT_DATA + 1, KIT_RW | KIT_U);
    PFN_NUMBER Second = KitNewRoot();
    KitFrame(KIT_DATA + 1)[0] = 1;
    KitFrame(KIT_DATA + 2)[0] = 2;
    assert_int_equal(KitRead(User), 1);
    KitWrite(KitVa(BASE), 5);
    KitUseRoot(Second);
    KitOnFault = Refuse;
    if (((HalFacts.UserBase ^ HalFacts.SystemBase) >> 39) != 0) { /* else the roots share the user's entries too */
        assert_false(KitTryRead(User, &Value));
        KitMap(User, KIT_DATA + 2, KIT_RW | KIT_U);
        assert_int_equal(KitRead(User), 2);
        assert_int_equal(KitRead(KitVa(BASE)), 5);
        KitUseRoot(First);
        assert_int_equal(KitRead(User), 1);
    }
    HalSetRootTable(0);
    assert_false(KitTryRead(User, &Value));
}

/* HalActivateAddressSpace: spaces stand side by side; one that is left, or swept, has no translations cached. */
static void AddressSpaces_AreApart(void **State)
{
    (void)State;
    static HAL_ADDRESS_SPACE One, Two, Sweeper;
    const ULONG64 Gib = 1ull << 30;
    ULONG64 Value;
    PFN_NUMBER System = KitRoot(), Roots[2] = {KitNewRoot(), KitNewRoot()};
    ULONG_PTR Base = HalFacts.UserBase, A = Base + 2 * Gib + (5 << 12), B = Base + 4 * Gib + (5 << 12);
    if (((HalFacts.UserBase ^ HalFacts.SystemBase) >> 39) == 0)
        skip(); /* roots made here would share the user's entries */
    KitMap(KitVa(BASE), KIT_DATA, KIT_RW);
    KitUseRoot(Roots[0]);
    KitMap(A, KIT_DATA + 1, KIT_RW | KIT_U);
    KitUseRoot(Roots[1]);
    KitMap(B, KIT_DATA + 2, KIT_RW | KIT_U);
    KitUseRoot(System);
    One = (HAL_ADDRESS_SPACE){.Root = Roots[0], .Low = Base + 2 * Gib, .High = Base + 4 * Gib};
    Two = (HAL_ADDRESS_SPACE){.Root = Roots[1], .Low = Base + 4 * Gib, .High = Base + 5 * Gib};
    Sweeper = (HAL_ADDRESS_SPACE){.Root = System, .Low = Base, .High = Base + Gib, .Sweeps = TRUE};
    HalAddAddressSpace(&One), HalAddAddressSpace(&Two), HalAddAddressSpace(&Sweeper);
    KitOnFault = Refuse;
    assert_false(KitTryRead(A, &Value)); /* in no space */
    HalActivateAddressSpace(&One);
    assert_int_equal(One.Running, 1);
    KitWrite(A, 11);
    assert_true(One.Cached >= 1);
    assert_false(KitTryRead(B, &Value));
    KitWrite(KitVa(BASE), 5); /* the kernel's range is everybody's */
    HalActivateAddressSpace(&Two);
    assert_int_equal(One.Running, 0);
    assert_int_equal(One.Cached, 0);
    KitWrite(B, 22);
    assert_false(KitTryRead(A, &Value));
    assert_int_equal(KitRead(KitVa(BASE)), 5);
    __atomic_add_fetch(&Two.Running, 1, __ATOMIC_SEQ_CST); /* another thread is in it, too */
    HalActivateAddressSpace(&One);
    assert_true(Two.Cached >= 1); /* its translations stay */
    assert_int_equal(KitRead(A), 11);
    HalActivateAddressSpace(&Sweeper);
    assert_int_equal(Two.Cached, 0);
    assert_int_equal(One.Cached, 0);
    assert_false(KitTryRead(B, &Value));
    __atomic_sub_fetch(&Two.Running, 1, __ATOMIC_SEQ_CST);
    HalActivateAddressSpace(&Two);
    assert_int_equal(KitRead(B), 22);
    HalActivateAddressSpace(NULL);
    assert_false(KitTryRead(B, &Value));
    HalRemoveAddressSpace(&One), HalRemoveAddressSpace(&Two), HalRemoveAddressSpace(&Sweeper);
}

static void Translate_TellsAndSetsNothing(void **State)
{
    (void)State;
    PHYSICAL_ADDRESS Physical;
    KitMap(KitVa(BASE), KIT_DATA + 4, KIT_RW);
    assert_true(HalTranslate(KitVa(BASE) + 0x123, &Physical));
    assert_int_equal(Physical.QuadPart, ((KIT_DATA + 4) << 12) + 0x123);
    assert_int_equal(*KitPte(KitVa(BASE)) & AD, 0);
    assert_false(HalTranslate(KitVa(BASE + 1), &Physical));
    assert_false(HalTranslate((ULONG_PTR)&Physical, &Physical));
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        KIT_TEST(Walk_PresentPage_ReadsAndWritesItsFrame),
        KIT_TEST(Walk_DevicePage_IsReached),
        KIT_TEST(Walk_TwoAddressesOfOneFrame_AreTheSameMemory),
        KIT_TEST(Fault_DemandZero_UpcallMapsAndTheAccessGoesOn),
        KIT_TEST(Errors_ComeFromTheWalk),
        KIT_TEST(Bits_AnyLevelMayForbid),
        KIT_TEST(Accessed_IsSetAtEveryLevel_DirtyOnlyByAWrite),
        KIT_TEST(Dirty_RefusedWrite_LeavesItClear),
        KIT_TEST(Dirty_ClearedAndFlushed_IsSetAgain),
        KIT_TEST(Accessed_OfNeighbours_IsLeftAlone),
        KIT_TEST(Core_BitsOfAnEntry_AreKept),
        KIT_TEST(LargePage_IsWalked),
        KIT_TEST(Frame_ThatDoesNotExist_IsAReservedBit),
        KIT_TEST(Flush_UntilThen_TheOldFrameIsSeen),
        KIT_TEST(Flush_UntilThen_AnUnmappedPageIsSeen),
        KIT_TEST(NotPresent_IsNeverCached),
        KIT_TEST(AddressSpace_Switch_DropsTheUsersTranslationsOnly),
        KIT_TEST(AddressSpaces_AreApart),
        KIT_TEST(Translate_TellsAndSetsNothing),
    };
    return cmocka_run_group_tests_name("hal.mmu", Tests, NULL, NULL);
}
