/*
 * cmd_test.c - the ntmm command from outside: exit codes, sentences, reports, JSON. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>

#define SYS NTMM_SYS "/"
static char Out[1 << 18], Err[1 << 16];

static void ReadAll(const char *Path, char *Text, size_t Size)
{
    FILE *File = fopen(Path, "r");
    assert_non_null(File);
    Text[fread(Text, 1, Size - 1, File)] = 0;
    fclose(File);
}

/* Runs the command with these arguments; its output is in Out and Err. Returns the exit code. */
static int Run(const char *Arguments)
{
    char Line[2048], Base[] = "/tmp/ntmm_cmd_XXXXXX", Path[64];
    assert_non_null(mkdtemp(Base));
    snprintf(Line, sizeof(Line), "%s %s >%s/out 2>%s/err </dev/null", NTMM_COMMAND, Arguments, Base, Base);
    int Status = system(Line);
    snprintf(Path, sizeof(Path), "%s/out", Base);
    ReadAll(Path, Out, sizeof(Out));
    remove(Path);
    snprintf(Path, sizeof(Path), "%s/err", Base);
    ReadAll(Path, Err, sizeof(Err));
    remove(Path);
    remove(Base);
    assert_true(WIFEXITED(Status));
    return WEXITSTATUS(Status);
}

static void Expect(const char *Arguments, int Code, const char *InOut, const char *InErr)
{
    int Got = Run(Arguments);
    if (Got != Code || (InOut != NULL && strstr(Out, InOut) == NULL) || (InErr != NULL && strstr(Err, InErr) == NULL)) {
        fail_msg("ntmm %s\nexit %d, expected %d; expected \"%s\" and \"%s\"\n--- out\n%s\n--- err\n%s", Arguments, Got, Code,
                 InOut != NULL ? InOut : "", InErr != NULL ? InErr : "", Out, Err);
    }
}

/* One clear sentence on standard error, nothing on standard output, exit 2. */
static void Complains(const char *Arguments, const char *Words)
{
    Expect(Arguments, 2, NULL, Words);
    const char *Newline = strchr(Err, '\n');
    assert_string_equal(Out, "");
    assert_int_equal(strncmp(Err, "ntmm: ", 6), 0);
    assert_true(Newline != NULL && Newline[1] == 0);
}

static void Help_IsThereForEach(void **State)
{
    (void)State;
    Expect("--help", 0, "ntmm run DRIVER.sys", NULL);
    Expect("--version", 0, "ntmm ", NULL);
    Expect("run --help", 0, "--ioctl CODE", NULL);
    assert_non_null(strstr(Out, "--ram=SIZE"));
    Expect("imports --help", 0, "usage: ntmm imports", NULL);
    Expect("explain --help", 0, "usage: ntmm explain", NULL);
    Expect("map --help", 0, "usage: ntmm map", NULL);
    assert_int_equal(Run(""), 2);
}

static void WrongUsage_IsOneSentence(void **State)
{
    (void)State;
    Complains("walk", "unknown command \"walk\"");
    Complains("run", "needs a driver");
    Complains("run --colour=blue x.sys", "no option \"--colour=blue\"");
    Complains("run a.sys b.sys", "takes one driver; \"b.sys\"");
    Complains("run x.sys --ioctl", "--ioctl needs a value");
    Complains("run x.sys --ioctl 0xzz", "\"0xzz\" is not a number");
    Complains("run x.sys --in 00", "--in belongs behind the --ioctl");
    Complains("run x.sys --out-size 4", "--out-size belongs behind");
    Complains("run x.sys --offset 4", "--offset belongs behind");
    Complains("run x.sys --repeat 4", "--repeat belongs behind");
    Complains("run x.sys --ioctl 1 --in 123", "neither an even number of hexadecimal digits nor a file");
    Complains("run x.sys --ioctl 1 --out-size 99999999999", "--out-size");
    Complains("run x.sys --timeout soon", "--timeout");
    Complains("run x.sys --ram=1", "ram");
    Complains("run x.sys --cpus=0", "cpus");
    Complains("run x.sys --verifier=everything", "verifier");
    Complains("imports", "needs a file");
    Complains("imports --all x.sys", "no option \"--all\"");
    Complains("imports a b", "\"b\" is a second");
    Complains("explain", "needs a bug check code");
    Complains("explain NOT_A_BUG_CHECK", "neither a bug check's number nor its name");
    Complains("explain pool_caller", "names like it: BAD_POOL_CALLER");
    Complains("explain C2", "0xC2 is one");
    Complains("explain 0x1000000C2", "neither a bug check's number");
    Complains("explain 0xC4 0x62 --deep", "no option \"--deep\"");
    Complains("explain 0xC2 1 2 3 4 5", "\"5\" is a fifth");
    Complains("explain 0xC2 x", "\"x\" is not a number");
    Complains("explain 0xFFFFFFF0", "not one that ntmm knows");
    Complains("map now", "no option \"now\"");
    Complains("map --ram=2M", "ram");
}

static void BadFiles_AreNamedAndExplained(void **State)
{
    (void)State;
    Complains("run /nonexistent.sys", "/nonexistent.sys: No such file");
    Complains("run /tmp", "not a regular file");
    Complains("run " NTMM_COMMAND, "ELF file");
    Complains("run /dev/null", "not a regular file");
    Complains("run " SYS "seeds/loadme.cut", "truncated");
    Complains("imports /nonexistent.sys", "No such file");
    Complains("imports " SYS "seeds/loadme.head", "truncated");
}

static void Run_GoodDriver_IsClean(void **State)
{
    (void)State;
    Expect("run " SYS "loadme.sys --ioctl 0x222000 --in 00010203 --out-size 8", 0, "loadme.sys is clean", "loadme: goodbye");
    assert_non_null(strstr(Out, "DriverEntry                          STATUS_SUCCESS (0x00000000)"));
    assert_non_null(strstr(Out, "open  \\Device\\LoadMe"));
    assert_non_null(strstr(Out, "information 4"));
    assert_non_null(strstr(Out, "0000  ff fe fd fc"));
    assert_non_null(strstr(Out, "ntoskrnl.exe!PsNoSuchRoutineAnywhere"));
    assert_non_null(strstr(Out, "Everything it allocated was freed."));
    Expect("run " SYS "loadme.sys --device LoadMe --ioctl 0x222000 --in 00 --out-size 1 --repeat 100 --ram=64M --cpus=1", 0,
           "open  \\??\\LoadMe", NULL);
    Expect("run " SYS "loadme.sys --no-fork", 0, "clean", NULL);
}

static void Run_Leak_IsAFindingWithItsLine(void **State)
{
    (void)State;
    Expect("run " SYS "loadme.sys --ioctl 0x22201c --out-size 8 --ioctl 0x22201c --out-size 8", 1,
           "Not freed: 2 blocks, 200 bytes", NULL);
    assert_non_null(strstr(Out, "tag 'Leak', nonpaged pool"));
    assert_non_null(strstr(Out, "loadme.sys!Answer (loadme.c:"));
    assert_non_null(strstr(Out, "loadme.sys: 2 findings."));
}

static void Run_BugCheck_IsAFindingWithItsBlock(void **State)
{
    (void)State;
    Expect("run " SYS "loadme.sys --ioctl 0x222018", 1, "stopped by bug check 0xBE, ATTEMPTED_WRITE_TO_READONLY_MEMORY",
           "*** STOP: 0x000000BE (");
    assert_non_null(strstr(Err, "loadme.sys"));
    assert_non_null(strstr(Err, "loadme.c:"));
    Expect("run " SYS "loadme.sys --ioctl 0x222010", 1, NULL, "loadme.sys called ntoskrnl.exe!PsNoSuchRoutineAnywhere");
    /* The host reports its own half as a protection violation; for a driver nothing is there. */
    Expect("run " SYS "loadme.sys --ioctl 0x222040", 1, "stopped by bug check 0x50, PAGE_FAULT_IN_NONPAGED_AREA",
           "*** STOP: 0x00000050 (0xFFFFF80000000000,0x0000000000000002,");
    /* The stack probe describes no frame and is not to blame. An assembler's routine has a name without a type; it is not its
     * neighbour's. */
    Expect("run " SYS "loadme.sys --ioctl 0x222048", 1, "stopped by bug check 0x7F", "!___chkstk_ms");
    assert_non_null(strstr(Err, " KiB is used up: a double fault"));
    assert_non_null(strstr(Err, "  function:   Deeper (loadme.c:"));
    /* A sanitizer's larger stack has more of its frames than a report shows. */
    unsigned Kib = 0;
    assert_int_equal(sscanf(strstr(Err, "The kernel stack of "), "The kernel stack of %u", &Kib), 1);
    assert_true(Kib * 1024 / 5000 > 24 || strstr(Err, "loadme.sys!Control (loadme.c:") != NULL);
}

/* The requests are a process's, which ends when its handle is closed: what a driver has locked of it is bug check 0x76. */
static void Run_LockedPagesOfTheProgram_Are76(void **State)
{
    (void)State;
    Expect("run " SYS "loadme.sys --ioctl 0x222063 --out-size 5000", 1, "stopped by bug check 0x76, PROCESS_HAS_LOCKED_PAGES",
           "*** STOP: 0x00000076 (0x0000000000000000,0x");
    assert_non_null(strstr(Err, ",0x0000000000000002,0x0000000000000000)"));
    assert_null(strstr(Err, "loadme: goodbye")); /* it happens before DriverUnload */
}

static void Run_ThreadThatNobodyWaitsFor_IsNoLeak(void **State)
{
    (void)State;
    Expect("run " SYS "loadme.sys --ioctl 0x222044", 0, "loadme.sys is clean", NULL);
    assert_non_null(strstr(Out, "Everything it allocated was freed."));
}

static void Run_BugCheckOnAnotherThread_IsAFindingToo(void **State)
{
    (void)State;
    Expect("run " SYS "loadme.sys --ioctl 0x22203c", 1, NULL, "*** STOP: 0x000000BE (");
    assert_non_null(strstr(Err, "loadme.c:"));
    assert_non_null(
        strstr(Out, "loadme.sys was stopped by bug check 0xBE, ATTEMPTED_WRITE_TO_READONLY_MEMORY, on another thread"));
    assert_non_null(strstr(Out, "in: ioctl 0x0022203c"));
    Expect("run " SYS "loadme.sys --ioctl 0x22203c --json", 1, "\"findings\": 1", NULL);
    json_t *Root = json_loads(Out, 0, NULL), *Stop = json_object_get(Root, "bugcheck");
    assert_string_equal(json_string_value(json_object_get(Stop, "code")), "0x000000BE");
    assert_non_null(strstr(json_string_value(json_object_get(Stop, "function")), "loadme.c:"));
    json_decref(Root);
}

static void ExitsWith(const char *Line, int Code)
{
    int Status = system(Line);
    assert_true(WIFEXITED(Status));
    assert_int_equal(WEXITSTATUS(Status), Code);
}

/* A report that is lost is no clean run; nor may the machine's memory become descriptor 1. */
static void LostOutput_IsUsage(void **State)
{
    (void)State;
    ExitsWith(NTMM_COMMAND " run " SYS "loadme.sys >/dev/full 2>/dev/null", 2);
    ExitsWith(NTMM_COMMAND " run " SYS "loadme.sys --json >/dev/full 2>/dev/null", 2);
    ExitsWith(NTMM_COMMAND " run " SYS "loadme.sys >&- 2>/dev/null", 2);
    ExitsWith(NTMM_COMMAND " map >&- 2>/dev/null", 2);
    ExitsWith(NTMM_COMMAND " run " SYS "loadme.sys >/dev/null 2>&- <&-", 0);
}

static void Run_FailedEntryOrDevice_IsAFinding(void **State)
{
    (void)State;
    Expect("run " SYS "refuses.sys", 1, "STATUS_DEVICE_CONFIGURATION_ERROR (0xC0000182)", NULL);
    Expect("run " SYS "loadme.sys --device \\\\Device\\\\Other --ioctl 1", 1, "STATUS_OBJECT_NAME_NOT_FOUND", NULL);
}

static json_t *RunJson(const char *Arguments, int Code)
{
    json_error_t Error;
    assert_int_equal(Run(Arguments), Code);
    json_t *Root = json_loads(Out, 0, &Error);
    if (Root == NULL) {
        fail_msg("not JSON: %s\n%s", Error.text, Out);
    }
    return Root;
}

static void Json_IsTheSameReport(void **State)
{
    (void)State;
    json_t *Root = RunJson("run " SYS "loadme.sys --ioctl 0x22201c --out-size 8 --json", 1);
    assert_int_equal(json_integer_value(json_object_get(Root, "findings")), 1);
    assert_int_equal(json_integer_value(json_object_get(Root, "not_freed_bytes")), 100);
    json_t *Block = json_array_get(json_object_get(Root, "not_freed"), 0);
    assert_string_equal(json_string_value(json_object_get(Block, "tag")), "Leak");
    json_decref(Root);
    Root = RunJson("run " SYS "loadme.sys --ioctl 0x222018 --json", 1);
    assert_string_equal(json_string_value(json_object_get(json_object_get(Root, "bugcheck"), "name")),
                        "ATTEMPTED_WRITE_TO_READONLY_MEMORY");
    json_decref(Root);
    Root = RunJson("imports " SYS "loadme.sys --json", 1);
    assert_int_equal(json_integer_value(json_object_get(Root, "missing")), 1);
    json_decref(Root);
    Root = RunJson("map --json", 0);
    assert_true(json_array_size(json_object_get(Root, "regions")) >= 7);
    assert_true(json_array_size(json_object_get(Root, "memory")) >= 4); /* three runs of RAM and a device's */
    json_decref(Root);
    Root = RunJson("explain 0xC2 7 --json", 0);
    assert_string_equal(json_string_value(json_object_get(Root, "name")), "BAD_POOL_CALLER");
    json_decref(Root);
}

static void Imports_ListsHereAndMissing(void **State)
{
    (void)State;
    Expect("imports " SYS "loadme.sys", 1, "PsNoSuchRoutineAnywhere", NULL);
    assert_non_null(strstr(Out, "26 of 27 here"));
    Expect("imports " SYS "refuses.sys", 0, "Its one import is here", NULL);
}

static void Explain_ByNumberOrName(void **State)
{
    (void)State;
    Expect("explain 0xC2 7", 0, "already free", NULL);
    Expect("explain 0xC0000263", 0, "DRIVER_ENTRYPOINT_NOT_FOUND", NULL);
    Expect("explain bad_pool_caller", 0, "BAD_POOL_CALLER", NULL);
}

static void Map_ShowsRegionsAndMemory(void **State)
{
    (void)State;
    Expect("map --ram=64M", 0, "nonpaged pool", NULL);
    assert_non_null(strstr(Out, "device memory"));
    assert_non_null(strstr(Out, "64 MiB of RAM"));
}

/* The names and the order are those of !vm and !memusage; pages really go out. */
static void Map_Memory_ShowsTheListsWhileMemoryIsShort(void **State)
{
    static const char *const Lines[] = {"Physical Memory:",
                                        "Paging File Name:",
                                        "Available Pages:",
                                        "ResAvail Pages:",
                                        "Locked IO Pages:",
                                        "Free System PTEs:",
                                        "Modified Pages:",
                                        "NonPagedPool Usage:",
                                        "NonPagedPool Max:",
                                        "PagedPool Usage:",
                                        "PagedPool Maximum:",
                                        "Special Pool:",
                                        "Driver Commit:",
                                        "Committed pages:",
                                        "Commit limit:",
                                        "Zeroed:",
                                        "Free:",
                                        "Standby:",
                                        "Modified:",
                                        "ModifiedNoWrite:",
                                        "Active/Valid:",
                                        "Transition:",
                                        "Bad:",
                                        "TOTAL:"};
    char Arguments[256];
    const char *At = Out;
    (void)State;
    snprintf(Arguments, sizeof(Arguments), "map --memory --ram=16M --pagefile=/tmp/ntmm.cmd.%d --pagefile_size=64M",
             (int)getpid());
    Expect(Arguments, 0, "Physical Memory:         4096 (      16384 Kb)\n", NULL);
    for (size_t Index = 0; Index < sizeof(Lines) / sizeof(*Lines); Index++) {
        const char *Found = strstr(At, Lines[Index]);
        if (Found == NULL) {
            fail_msg("no line \"%s\" behind the one before:\n%s", Lines[Index], Out);
        }
        At = Found;
    }
    strcat(Arguments, " --json");
    assert_int_equal(Run(Arguments), 0);
    json_t *Root = json_loads(Out, 0, NULL), *Memory = json_object_get(Root, "memory"), *Value;
    const char *Key;
    json_int_t Sum = 0;
    assert_non_null(Memory);
    json_object_foreach(json_object_get(Memory, "pages"), Key, Value)
    {
        if (strstr("zeroed free standby modified modified_no_write bad transition active", Key) != NULL) {
            Sum += json_integer_value(Value);
        }
    }
    assert_int_equal(Sum, 4096);
    assert_true(json_integer_value(json_object_get(json_object_get(Memory, "paging"), "pages_written")) > 0);
    json_t *Series = json_object_get(Memory, "series"), *Samples = json_object_get(Series, "samples");
    assert_true(json_array_size(Samples) >= 2);
    assert_int_equal(json_array_size(json_array_get(Samples, 0)), json_array_size(json_object_get(Series, "fields")));
    json_decref(Root);
}

static void Run_VerifierDriversThatAreNotThere_AreNamed(void **State)
{
    (void)State;
    Expect("run --verifier=standard --verifier_drivers=LoadMe+laodme.sys " SYS "loadme.sys", 0, NULL,
           "ntmm: verifier_drivers: no driver here is called 'laodme.sys': the one that runs is loadme.sys\n");
    assert_null(strstr(Err, "'LoadMe'"));
}

static void Run_ReportsMemoryOverTime(void **State)
{
    (void)State;
    Expect("run " SYS "loadme.sys", 0, "Memory: at most ", NULL);
    assert_int_equal(Run("run --json " SYS "loadme.sys"), 0);
    json_t *Root = json_loads(Out, 0, NULL), *Memory = json_object_get(Root, "memory");
    assert_non_null(Memory);
    assert_true(json_integer_value(json_object_get(json_object_get(Memory, "commit"), "peak")) > 0);
    assert_true(json_array_size(json_object_get(json_object_get(Memory, "series"), "samples")) >= 1);
    assert_non_null(json_object_get(json_object_get(Memory, "faults"), "hard"));
    json_decref(Root);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Help_IsThereForEach),
        cmocka_unit_test(WrongUsage_IsOneSentence),
        cmocka_unit_test(BadFiles_AreNamedAndExplained),
        cmocka_unit_test(Run_GoodDriver_IsClean),
        cmocka_unit_test(Run_Leak_IsAFindingWithItsLine),
        cmocka_unit_test(Run_BugCheck_IsAFindingWithItsBlock),
        cmocka_unit_test(Run_LockedPagesOfTheProgram_Are76),
        cmocka_unit_test(Run_ThreadThatNobodyWaitsFor_IsNoLeak),
        cmocka_unit_test(Run_BugCheckOnAnotherThread_IsAFindingToo),
        cmocka_unit_test(LostOutput_IsUsage),
        cmocka_unit_test(Run_FailedEntryOrDevice_IsAFinding),
        cmocka_unit_test(Json_IsTheSameReport),
        cmocka_unit_test(Imports_ListsHereAndMissing),
        cmocka_unit_test(Explain_ByNumberOrName),
        cmocka_unit_test(Map_ShowsRegionsAndMemory),
        cmocka_unit_test(Map_Memory_ShowsTheListsWhileMemoryIsShort),
        cmocka_unit_test(Run_VerifierDriversThatAreNotThere_AreNamed),
        cmocka_unit_test(Run_ReportsMemoryOverTime),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
