/*
 * pfn_test.c - the frame database: src/mm/pfn.c. SPDX-License-Identifier: MIT
 *
 * Each test has a frame database of its own over 4 MiB of contiguous frames lent by the running system: two
 * runs with a hole between them.
 */
#include "mm_kit.h"
#include "ex/exp.h"
#include "ex/work.h"

/* The system's own threads would look at the lent database: paging's are stopped meanwhile, and the pools' trim, whose work makes
 * threads. */
static int StartQuiet(void **State)
{
    int Result = KitStart(State);
    MmStopPaging();
    ExpStopTrim();
    ExpDrainWork();
    return Result;
}

#define POOL_PAGES 1024u
static MI_STATE Mine;
static PMI_STATE Theirs;
static PFN_NUMBER Lent;

static int Setup(void **State)
{
    BOOLEAN Dirty;
    PVOID Carved = NULL;
    (void)State;
    if (!MiTakeContiguous(POOL_PAGES, 0, MI_NO_PAGE, 0, &Lent, &Dirty)) {
        return -1;
    }
    HalZeroPages(Lent, POOL_PAGES);
    Theirs = MiState;
    memset(&Mine, 0, sizeof(Mine));
    MiState = &Mine;
    HAL_RUN Runs[] = {{Lent, 300, FALSE}, {Lent + 400, 600, FALSE}, {Lent + 1000, 8, TRUE}};
    return NT_SUCCESS(MiInitializeFrames(Runs, 3, 2, &Carved)) && Carved == HalWindow(Lent + 400) ? 0 : -1;
}
static int Teardown(void **State)
{
    (void)State;
    MiState = Theirs;
    return MiReleaseFrames(Lent, POOL_PAGES) == POOL_PAGES ? 0 : -1;
}

static ULONG64 Available(void)
{
    return Mine.StateCount[MiPageZeroed] + Mine.StateCount[MiPageFree];
}

static void Initialize_Runs_AllFramesAreZeroedAndUntouched(void **State)
{
    (void)State;
    assert_int_equal(Mine.TotalPages, 900);
    assert_int_equal(Mine.CorePages, 3 + 2 + 5); /* 32 bytes a frame, and two pages carved from the larger run */
    assert_int_equal(Mine.StateCount[MiPageZeroed], 890);
    assert_int_equal(Mine.ExtentCount, 2);
    assert_null(MiPfn(Lent));       /* the core's own */
    assert_null(MiPfn(Lent + 350)); /* the hole */
    assert_null(MiPfn(Lent + 1000));
    assert_true(MiRunOfPage(Lent + 1000)->Device);
    assert_null(MiValidateFrames());
}

static void Take_Run_IsContiguousAndCounted(void **State)
{
    PFN_NUMBER Base;
    BOOLEAN Dirty;
    (void)State;
    assert_int_equal(MiTakeFrames(64, 0, NULL, &Base, &Dirty), 64);
    assert_false(Dirty);
    for (ULONG Index = 0; Index < 64; Index++) {
        assert_int_equal(MiPfn(Base + Index)->State, MiPageActive);
        assert_int_equal(MiPfn(Base + Index)->u2.ShareCount, 1);
        assert_int_equal(MiPfn(Base + Index)->ReferenceCount, 1);
    }
    assert_int_equal(Mine.StateCount[MiPageActive], 64);
    assert_null(MiValidateFrames());
    assert_int_equal(MiReleaseFrames(Base, 64), 64);
    assert_int_equal(Mine.Node[0].Lists[MiPageFree].Total, 64);
    assert_null(MiValidateFrames());
}

static void Take_AfterRelease_SameRunComesBackUpwards(void **State)
{
    PFN_NUMBER Base, Again;
    BOOLEAN Dirty;
    (void)State;
    MiTakeFrames(32, 0, NULL, &Base, &Dirty);
    MiReleaseFrames(Base, 32);
    assert_int_equal(MiTakeFrames(32, 0, NULL, &Again, &Dirty), 32);
    assert_int_equal(Again, Base);
    assert_true(Dirty);
    MiReleaseFrames(Again, 32);
    assert_int_equal(MiTakeFrames(1, 0, NULL, &Again, &Dirty), 1);
    assert_int_equal(Again, Base); /* what was freed last is warm */
    MiReleaseFrames(Again, 1);
}

static void Take_ZeroedWanted_PrefersFramesThatAreZero(void **State)
{
    PFN_NUMBER Base, Zeroed;
    BOOLEAN Dirty;
    (void)State;
    MiTakeFrames(8, 0, NULL, &Base, &Dirty);
    MiReleaseFrames(Base, 8);
    MiTakeFrames(1, MI_TAKE_ZEROED, NULL, &Zeroed, &Dirty);
    assert_false(Dirty);
    assert_int_equal(Mine.Node[0].Lists[MiPageFree].Total, 8);
    MiReleaseFrames(Zeroed, 1);
}

static void EndRead(PFN_NUMBER Base, ULONG Count)
{
    ULONG64 Commit = 0;
    KiAcquireLock(&Mine.PfnLock);
    for (ULONG Index = 0; Index < Count; Index++) {
        MiPfn(Base + Index)->Flags = (USHORT)((MiPfn(Base + Index)->Flags & ~MI_PFN_READING) | MI_PFN_DELETED);
        (void)MiDereferenceFrameLocked(Base + Index, &Commit);
    }
    KiReleaseLock(&Mine.PfnLock);
}

/* What is read into is overwritten: memory that the host has already does, however short the run. */
static void Take_ForReading_LeavesUntouchedRamAlone(void **State)
{
    PFN_NUMBER Base, Page, Fresh;
    BOOLEAN Dirty;
    (void)State;
    MiTakeFrames(8, 0, NULL, &Base, &Dirty);
    MiReleaseFrames(Base + 2, 3);
    assert_int_equal(MiTakeFrames(8, MI_TAKE_READING, NULL, &Page, &Dirty), 3);
    assert_int_equal(Page, Base + 2);
    assert_int_equal(MiTakeFrames(8, MI_TAKE_READING, NULL, &Fresh, &Dirty), 8); /* nothing is left on the lists */
    assert_false(Dirty);
    assert_null(MiValidateFrames());
    EndRead(Page, 3);
    EndRead(Fresh, 8);
    MiReleaseFrames(Base, 2);
    MiReleaseFrames(Base + 5, 3);
    assert_int_equal(Available(), 890);
    assert_null(MiValidateFrames());
}

static void Take_Everything_ThenNothing(void **State)
{
    PFN_NUMBER Base[891];
    BOOLEAN Dirty;
    ULONG Count = 0;
    (void)State;
    while (MiTakeFrames(1, 0, NULL, &Base[Count], &Dirty)) {
        Count++;
    }
    assert_int_equal(Count, 890);
    assert_int_equal(Available(), 0);
    assert_int_equal(Mine.ExtentCount, 0);
    assert_null(MiValidateFrames());
    while (Count) {
        MiReleaseFrames(Base[--Count], 1);
    }
    assert_int_equal(Available(), 890);
    assert_null(MiValidateFrames());
}

static void Take_MoreThanARun_GivesTheLongestThereIs(void **State)
{
    PFN_NUMBER Base;
    BOOLEAN Dirty;
    (void)State;
    assert_int_equal(MiTakeFrames(800, 0, NULL, &Base, &Dirty), 593);
    assert_int_equal(MiTakeFrames(800, 0, NULL, &Base, &Dirty), 297);
    assert_int_equal(MiTakeFrames(800, 0, NULL, &Base, &Dirty), 0);
}

static void Contiguous_BoundsAndBoundary_AreKept(void **State)
{
    PFN_NUMBER Base, First = Mine.Runs[1].FirstPage;
    BOOLEAN Dirty;
    (void)State;
    assert_true(MiTakeContiguous(16, First + 50, First + 90, 0, &Base, &Dirty));
    assert_in_range(Base, First + 50, First + 75);
    assert_int_equal(Mine.ExtentCount, 3);
    assert_null(MiValidateFrames());
    MiReleaseFrames(Base, 16);
    assert_true(MiTakeContiguous(16, First + 1, MI_NO_PAGE, 64, &Base, &Dirty));
    assert_int_equal(Base / 64, (Base + 15) / 64);
    MiReleaseFrames(Base, 16);
    assert_false(MiTakeContiguous(16, First, First + 14, 0, &Base, &Dirty));
    assert_false(MiTakeContiguous(65, 0, MI_NO_PAGE, 64, &Base, &Dirty));
    assert_false(MiTakeContiguous(594, 0, MI_NO_PAGE, 0, &Base, &Dirty)); /* no run has as many */
    assert_false(MiTakeContiguous(0, 0, MI_NO_PAGE, 0, &Base, &Dirty));
}

static void Contiguous_FromLists_FindsNeighbours(void **State)
{
    PFN_NUMBER Base[891], Found;
    BOOLEAN Dirty;
    ULONG Count = 0;
    (void)State;
    while (MiTakeFrames(1, 0, NULL, &Base[Count], &Dirty)) {
        Count++;
    }
    PFN_NUMBER Middle = Mine.Runs[1].FirstPage + 200;
    for (ULONG Index = 0; Index < 20; Index += 2) { /* even ones, then the odd ones between */
        MiReleaseFrames(Middle + Index, 1);
    }
    assert_false(MiTakeContiguous(2, 0, MI_NO_PAGE, 0, &Found, &Dirty));
    for (ULONG Index = 1; Index < 20; Index += 2) {
        MiReleaseFrames(Middle + Index, 1);
    }
    assert_true(MiTakeContiguous(20, 0, MI_NO_PAGE, 0, &Found, &Dirty));
    assert_int_equal(Found, Middle);
    assert_null(MiValidateFrames());
}

static void Release_WhileLocked_WaitsForTheLastReference(void **State)
{
    PFN_NUMBER Base;
    BOOLEAN Dirty;
    ULONG64 Commit = 0;
    (void)State;
    MiTakeFrames(1, 0, NULL, &Base, &Dirty);
    assert_true(MiReferenceFrameLocked(Base));
    assert_true(MiReferenceFrameLocked(Base));
    assert_int_equal(MiReleaseFrames(Base, 1), 0);
    assert_int_equal(MiPfn(Base)->State, MiPageTransition);
    assert_null(MiValidateFrames());
    assert_true(MiDereferenceFrameLocked(Base, &Commit));
    assert_int_equal(Commit, 0);
    assert_int_equal(MiPfn(Base)->State, MiPageTransition);
    assert_true(MiDereferenceFrameLocked(Base, &Commit));
    assert_int_equal(Commit, 1); /* the charge goes back with the frame */
    assert_int_equal(MiPfn(Base)->State, MiPageFree);
    assert_false(MiDereferenceFrameLocked(Base, &Commit));
    assert_false(MiReferenceFrameLocked(Base));
    assert_null(MiValidateFrames());
}

static void Reference_CountFull_IsRefused(void **State)
{
    PFN_NUMBER Base;
    BOOLEAN Dirty;
    ULONG64 Commit = 0;
    (void)State;
    MiTakeFrames(1, 0, NULL, &Base, &Dirty);
    for (ULONG Index = 1; Index < MAXUSHORT; Index++) {
        assert_true(MiReferenceFrameLocked(Base));
    }
    assert_false(MiReferenceFrameLocked(Base));
    for (ULONG Index = 1; Index < MAXUSHORT; Index++) {
        assert_true(MiDereferenceFrameLocked(Base, &Commit));
    }
    assert_false(MiDereferenceFrameLocked(Base, &Commit)); /* the share's own reference stays */
    assert_int_equal(MiReleaseFrames(Base, 1), 1);
}

static void Scatter_SameSeed_SameFrames(void **State)
{
    PFN_NUMBER First[16], Second[16];
    BOOLEAN Dirty;
    ULONG Neighbours = 0;
    PFN_NUMBER FirstLent = Lent;
    (void)State;
    Mine.ScatterSeed = 7;
    for (ULONG Index = 0; Index < 16; Index++) {
        assert_int_equal(MiTakeFrames(8, 0, NULL, &First[Index], &Dirty), 1);
        Neighbours += Index && First[Index] == First[Index - 1] + 1;
    }
    assert_true(Neighbours < 4);
    assert_null(MiValidateFrames());
    Teardown(State);
    assert_int_equal(Setup(State), 0);
    Mine.ScatterSeed = 7;
    for (ULONG Index = 0; Index < 16; Index++) {
        MiTakeFrames(8, 0, NULL, &Second[Index], &Dirty);
        assert_int_equal(Second[Index] - Lent, First[Index] - FirstLent);
    }
}

static void Scatter_Everything_ExtentTableOverflowsIntoLists(void **State)
{
    PFN_NUMBER Base;
    BOOLEAN Dirty;
    (void)State;
    Mine.ScatterSeed = 3;
    for (ULONG Index = 0; Index < 200; Index++) {
        assert_int_equal(MiTakeFrames(1, 0, NULL, &Base, &Dirty), 1);
    }
    assert_true(Mine.ExtentCount <= MI_MAX_EXTENTS);
    assert_true(Mine.Node[0].Lists[MiPageZeroed].Total > 0);
    assert_int_equal(Available(), 690);
    assert_null(MiValidateFrames());
}

static void Validate_BrokenInvariants_AreNamed(void **State)
{
    PFN_NUMBER Base;
    BOOLEAN Dirty;
    (void)State;
    MiTakeFrames(4, 0, NULL, &Base, &Dirty);
    MiReleaseFrames(Base, 2);
    Mine.Node[0].Lists[MiPageFree].Total++;
    assert_memory_equal(MiValidateFrames(), "P1:", 3);
    Mine.Node[0].Lists[MiPageFree].Total--;
    MiPfn(Base)->ReferenceCount = 1;
    assert_memory_equal(MiValidateFrames(), "P2:", 3);
    MiPfn(Base)->ReferenceCount = 0;
    Mine.StateCount[MiPageActive]++;
    assert_memory_equal(MiValidateFrames(), "P3:", 3);
    Mine.StateCount[MiPageActive]--;
    MiPfn(Mine.Extents[0].Base)->Seen = 1;
    assert_memory_equal(MiValidateFrames(), "P4:", 3);
    MiPfn(Mine.Extents[0].Base)->Seen = 0;
    MiPfn(Base + 2)->u2.ShareCount = 0;
    assert_memory_equal(MiValidateFrames(), "P5:", 3);
    MiPfn(Base + 2)->u2.ShareCount = 1;
    assert_null(MiValidateFrames());
}

int main(void)
{
#define TEST(Name) cmocka_unit_test_setup_teardown(Name, Setup, Teardown)
    const struct CMUnitTest Tests[] = {
        TEST(Initialize_Runs_AllFramesAreZeroedAndUntouched),
        TEST(Take_Run_IsContiguousAndCounted),
        TEST(Take_AfterRelease_SameRunComesBackUpwards),
        TEST(Take_ZeroedWanted_PrefersFramesThatAreZero),
        TEST(Take_ForReading_LeavesUntouchedRamAlone),
        TEST(Take_Everything_ThenNothing),
        TEST(Take_MoreThanARun_GivesTheLongestThereIs),
        TEST(Contiguous_BoundsAndBoundary_AreKept),
        TEST(Contiguous_FromLists_FindsNeighbours),
        TEST(Release_WhileLocked_WaitsForTheLastReference),
        TEST(Reference_CountFull_IsRefused),
        TEST(Scatter_SameSeed_SameFrames),
        TEST(Scatter_Everything_ExtentTableOverflowsIntoLists),
        TEST(Validate_BrokenInvariants_AreNamed),
    };
    return cmocka_run_group_tests_name("pfn", Tests, StartQuiet, KitStop);
}
