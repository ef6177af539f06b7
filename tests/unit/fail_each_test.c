/*
 * fail_each_test.c - campaigns of failures: every request is refused once, what that makes reachable too; leaks, crashes, hangs and
 * wrong answers are told apart; a campaign splits, and goes on after it was interrupted. SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <ntifs.h>
#include <ntmm.h>

#define TAG 'hcaE'

static PVOID Take(SIZE_T Bytes)
{
    return ExAllocatePool2(POOL_FLAG_NON_PAGED, Bytes, TAG);
}

/* Two requests, both given back whatever happens. */
static ntmm_fail_outcome Careful(void *Argument)
{
    (void)Argument;
    PVOID One = Take(100);
    PVOID Two = Take(200);
    if (One != NULL)
        ExFreePool(One);
    if (Two != NULL)
        ExFreePool(Two);
    return NTMM_FAIL_HANDLED;
}

/* Forgets the first block when the second is refused. */
static ntmm_fail_outcome Forgetful(void *Argument)
{
    (void)Argument;
    PVOID One = Take(100);
    if (One == NULL)
        return NTMM_FAIL_HANDLED;
    PVOID Two = Take(200);
    if (Two == NULL)
        return NTMM_FAIL_HANDLED;
    ExFreePool(Two);
    ExFreePool(One);
    return NTMM_FAIL_HANDLED;
}

/* Never looks. */
static ntmm_fail_outcome Trusting(void *Argument)
{
    (void)Argument;
    PUCHAR One = Take(100);
    __asm__ volatile("movb $1, (%0)" ::"r"(One) : "memory"); /* seen by the machine alone, not by a sanitizer */
    ExFreePool(One);
    return NTMM_FAIL_HANDLED;
}

/* Asks again, from elsewhere, when it was refused; stops the system if it is refused twice. */
static ntmm_fail_outcome Persistent(void *Argument)
{
    (void)Argument;
    PVOID One = Take(100);
    if (One == NULL) {
        One = Take(50);
        if (One == NULL)
            KeBugCheckEx(0xE2, 1, 2, 3, 4);
    }
    ExFreePool(One);
    return NTMM_FAIL_HANDLED;
}

static ntmm_fail_outcome Endless(void *Argument)
{
    volatile BOOLEAN Wait = TRUE;
    (void)Argument;
    PVOID One = Take(100);
    while (One == NULL && Wait) {
    }
    ExFreePool(One);
    return NTMM_FAIL_HANDLED;
}

static ntmm_fail_outcome Strict(void *Argument)
{
    (void)Argument;
    PVOID One = Take(100);
    if (One == NULL)
        return NTMM_FAIL_WRONG;
    ExFreePool(One);
    return NTMM_FAIL_HANDLED;
}

/* Makes a file, and finds it wrong if it is there already. */
static ntmm_fail_outcome MakesAFile(void *Argument)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\??\\C:\\made");
    OBJECT_ATTRIBUTES Attributes;
    IO_STATUS_BLOCK Io;
    HANDLE File;
    NTSTATUS Status;
    (void)Argument;
    PVOID One = Take(100);
    InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE, NULL, NULL);
    Status = ZwCreateFile(&File, GENERIC_WRITE, &Attributes, &Io, NULL, FILE_ATTRIBUTE_NORMAL, 0, FILE_CREATE,
                          FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0);
    if (NT_SUCCESS(Status))
        ZwClose(File);
    if (One != NULL)
        ExFreePool(One);
    return Status == STATUS_OBJECT_NAME_COLLISION ? NTMM_FAIL_WRONG : NTMM_FAIL_HANDLED;
}

typedef struct TOLD {
    unsigned Count, Stop;
    ntmm_fail_outcome Outcomes[32];
    unsigned Depths[32];
    char Keys[32][200], Where[32][200], Detail[32][300];
} TOLD;

static void Tell(const ntmm_fail_point *Point, void *Context)
{
    TOLD *Told = Context;
    assert_true(Told->Count < 32);
    Told->Outcomes[Told->Count] = Point->outcome;
    Told->Depths[Told->Count] = Point->depth;
    snprintf(Told->Keys[Told->Count], 200, "%s", Point->key);
    snprintf(Told->Where[Told->Count], 200, "%s", Point->where);
    snprintf(Told->Detail[Told->Count++], 300, "%s", Point->detail);
}

static int Campaign(ntmm_fail_outcome (*Run)(void *), TOLD *Told, const char *State, unsigned Shard, unsigned Shards,
                    ntmm_fail_summary *Sum)
{
    ntmm_fail_options Options;
    ntmm_default_fail_options(&Options);
    memset(Told, 0, sizeof(*Told));
    Options.report = Tell;
    Options.context = Told;
    Options.jobs = 2;
    Options.limit = 30;
    Options.state = State;
    Options.identity = "test";
    Options.shard = Shard;
    Options.shards = Shards;
    return ntmm_fail_each(Run, NULL, &Options, Sum);
}

static void EachRequestFailsOnce_Careful_AllHandled(void **state)
{
    TOLD Told;
    ntmm_fail_summary Sum;
    (void)state;
    assert_int_equal(Campaign(Careful, &Told, NULL, 1, 1, &Sum), 0);
    assert_int_equal(Told.Count, 2);
    assert_int_equal(Sum.points, 2);
    assert_int_equal(Sum.runs, 3);
    assert_int_equal(Sum.outcomes[NTMM_FAIL_HANDLED], 2);
    assert_non_null(strstr(Told.Where[0], "fail_each_test.c"));
}

/* Drive C: is each run's own, and the folder stays as it was. */
static void FilesOfOneRun_AreNotAnothers(void **state)
{
    char Folder[] = "/tmp/ntmm-failXXXXXX", Inner[64], Options[128];
    TOLD Told;
    (void)state;
    assert_non_null(mkdtemp(Folder));
    snprintf(Inner, sizeof Inner, "%s/kept", Folder);
    assert_int_equal(mkdir(Inner, 0700), 0);
    snprintf(Options, sizeof Options, "drive=%s", Folder);
    setenv("NTMM_OPTIONS", Options, 1);
    assert_int_equal(Campaign(MakesAFile, &Told, NULL, 1, 1, NULL), 0);
    unsetenv("NTMM_OPTIONS");
    assert_true(Told.Count >= 1);
    assert_int_equal(rmdir(Inner), 0);
    assert_int_equal(rmdir(Folder), 0); /* nothing was made in it */
}

static void LeakOnTheErrorPath_ToldWithItsPlace(void **state)
{
    TOLD Told;
    (void)state;
    assert_int_equal(Campaign(Forgetful, &Told, NULL, 1, 1, NULL), 1);
    assert_int_equal(Told.Count, 2);
    unsigned Leaked = Told.Outcomes[0] == NTMM_FAIL_LEAKED ? 0 : 1;
    assert_int_equal(Told.Outcomes[Leaked], NTMM_FAIL_LEAKED);
    assert_int_equal(Told.Outcomes[1 - Leaked], NTMM_FAIL_HANDLED);
    assert_non_null(strstr(Told.Detail[Leaked], "1 block not freed"));
    assert_non_null(strstr(Told.Detail[Leaked], "fail_each_test.c"));
}

static void NullIsUsed_CrashToldWithItsStop(void **state)
{
    TOLD Told;
    (void)state;
    assert_int_equal(Campaign(Trusting, &Told, NULL, 1, 1, NULL), 1);
    assert_int_equal(Told.Count, 1);
    assert_int_equal(Told.Outcomes[0], NTMM_FAIL_CRASHED);
    assert_non_null(strstr(Told.Detail[0], "0x000000"));
}

static void WhatAFailureMakesReachable_FailsInTurn(void **state)
{
    TOLD Told;
    (void)state;
    assert_int_equal(Campaign(Persistent, &Told, NULL, 1, 1, NULL), 1);
    assert_int_equal(Told.Count, 2);
    assert_int_equal(Told.Depths[0], 1);
    assert_int_equal(Told.Outcomes[0], NTMM_FAIL_HANDLED);
    assert_int_equal(Told.Depths[1], 2);
    assert_int_equal(Told.Outcomes[1], NTMM_FAIL_CRASHED);
    assert_non_null(strstr(Told.Detail[1], "0x000000E2 (0x0000000000000001,0x0000000000000002"));
    assert_memory_equal(Told.Keys[0], Told.Keys[1], 16);
}

static void RunThatDoesNotEnd_IsHung(void **state)
{
    TOLD Told = {.Count = 0};
    ntmm_fail_options Options;
    (void)state;
    ntmm_default_fail_options(&Options);
    Options.report = Tell;
    Options.context = &Told;
    Options.limit = 1;
    assert_int_equal(ntmm_fail_each(Endless, NULL, &Options, NULL), 1);
    assert_int_equal(Told.Outcomes[0], NTMM_FAIL_HUNG);
}

static void FunctionSaysWrong_IsTold(void **state)
{
    TOLD Told;
    (void)state;
    assert_int_equal(Campaign(Strict, &Told, NULL, 1, 1, NULL), 1);
    assert_int_equal(Told.Outcomes[0], NTMM_FAIL_WRONG);
}

static void Shards_TogetherEveryPointOnce(void **state)
{
    TOLD All, Part;
    unsigned Seen = 0;
    (void)state;
    assert_int_equal(Campaign(Careful, &All, NULL, 1, 1, NULL), 0);
    for (unsigned Shard = 1; Shard <= 3; Shard++) {
        assert_int_equal(Campaign(Careful, &Part, NULL, Shard, 3, NULL), 0);
        for (unsigned Index = 0; Index < Part.Count; Index++) {
            for (unsigned Other = 0; Other < All.Count; Other++)
                Seen += strcmp(Part.Keys[Index], All.Keys[Other]) == 0;
        }
    }
    assert_int_equal(Seen, All.Count);
    ntmm_fail_summary Sum;
    assert_int_equal(Campaign(Careful, &Part, NULL, 4, 3, &Sum), -1);
    assert_non_null(strstr(ntmm_error(), "shard 4 of 3"));
}

/* The state of a finished campaign, cut after its first finished point and in the middle of a line. */
static void Interrupted_GoesOnFromItsState(void **state)
{
    char Path[] = "/tmp/ntmm-state-XXXXXX";
    TOLD First, Second;
    ntmm_fail_summary Sum;
    char Text[8192];
    (void)state;
    close(mkstemp(Path));
    assert_int_equal(Campaign(Forgetful, &First, Path, 1, 1, NULL), 1);
    FILE *File = fopen(Path, "r");
    size_t Length = fread(Text, 1, sizeof(Text) - 1, File);
    fclose(File);
    Text[Length] = 0;
    char *Done = strstr(Text, "{\"done\"");
    assert_non_null(Done);
    char *Next = strchr(Done, '\n') + 1;
    File = fopen(Path, "w");
    fwrite(Text, 1, (size_t)(Next - Text) + 9, File); /* and nine bytes of the next */
    fclose(File);
    assert_int_equal(Campaign(Forgetful, &Second, Path, 1, 1, &Sum), 1);
    assert_int_equal(Sum.resumed, 1);
    assert_int_equal(Sum.runs, 1);
    assert_int_equal(Second.Count, First.Count);
    for (unsigned Index = 0; Index < First.Count; Index++) {
        assert_string_equal(First.Keys[Index], Second.Keys[Index]);
        assert_int_equal(First.Outcomes[Index], Second.Outcomes[Index]);
    }
    /* The state of another campaign is refused and stays. */
    assert_int_equal(Campaign(Forgetful, &Second, Path, 1, 2, NULL), -1);
    assert_non_null(strstr(ntmm_error(), Path));
    unlink(Path);
}

static void Key_NotOne_IsRefusedByName(void **state)
{
    (void)state;
    assert_int_equal(ntmm_fail_at("123"), -1);
    assert_non_null(strstr(ntmm_error(), "\"123\""));
    assert_int_equal(ntmm_fail_at("0123456789abcdef-"), -1);
    assert_int_equal(ntmm_fail_at(""), -1);
}

/* Last: it starts the system here. */
static void SystemRuns_Refused(void **state)
{
    TOLD Told;
    (void)state;
    (void)KeGetCurrentIrql();
    assert_int_equal(Campaign(Careful, &Told, NULL, 1, 1, NULL), -1);
    assert_non_null(strstr(ntmm_error(), "runs already"));
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(EachRequestFailsOnce_Careful_AllHandled),
        cmocka_unit_test(FilesOfOneRun_AreNotAnothers),
        cmocka_unit_test(LeakOnTheErrorPath_ToldWithItsPlace),
        cmocka_unit_test(NullIsUsed_CrashToldWithItsStop),
        cmocka_unit_test(WhatAFailureMakesReachable_FailsInTurn),
        cmocka_unit_test(RunThatDoesNotEnd_IsHung),
        cmocka_unit_test(FunctionSaysWrong_IsTold),
        cmocka_unit_test(Shards_TogetherEveryPointOnce),
        cmocka_unit_test(Interrupted_GoesOnFromItsState),
        cmocka_unit_test(Key_NotOne_IsRefusedByName),
        cmocka_unit_test(SystemRuns_Refused),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
