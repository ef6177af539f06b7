/*
 * workshop.c - a driver binary with a bug behind each control code (tests/sys/workshop.c), run by the ntmm command as its user would: each
 * is stopped with its code, and the report names the driver and the line. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <cmocka.h>
#include <jansson.h>

#define ANY      ~0ull
#define STANDARD "0x209bb"

static char Names[64][40]; /* the driver's bugs, by number */
static unsigned NameCount;
static char Source[1 << 16];

/* Reads the driver's table, and keeps its text. */
static int ReadSource(void **State)
{
    FILE *File = fopen(NTMM_SOURCE, "r");
    (void)State;
    assert_non_null(File);
    Source[fread(Source, 1, sizeof Source - 1, File)] = 0;
    fclose(File);
    const char *At = strstr(Source, "Bugs[])(VOID) = {");
    assert_non_null(At);
    for (At = strchr(At, '{') + 1; NameCount < 64; At++) {
        At += strspn(At, " \n");
        size_t Length = strcspn(At, ",}");
        snprintf(Names[NameCount++], sizeof Names[0], "%.*s", (int)Length, At);
        At += Length;
        if (*At == '}')
            break;
    }
    return 0;
}

static unsigned NumberOf(const char *Name)
{
    for (unsigned I = 0; I < NameCount; I++)
        if (strcmp(Names[I], Name) == 0)
            return I;
    fail_msg("the driver has no bug %s", Name);
    return 0;
}

/* The line with the comment. */
static unsigned LineOf(const char *Name)
{
    char Mark[64];
    unsigned Line = 1;
    snprintf(Mark, sizeof Mark, "/* bug %s */", Name);
    const char *At = strstr(Source, Mark);
    assert_non_null(At);
    for (const char *From = Source; From < At; From++)
        Line += *From == '\n';
    return Line;
}

/* The report of a run with that bug; the caller owns it. */
static json_t *Report(const char *Name, const char *Verifier, int Code)
{
    char Line[1024], *Text = malloc(1 << 20);
    snprintf(Line, sizeof Line,
             "%s run %s --verifier=%s --ioctl %u --in 6162636465 --json --cpus=2 --ram=64M 2>/dev/null </dev/null",
             NTMM_COMMAND, NTMM_SYS "/workshop.sys", Verifier, 0x222000 + 4 * NumberOf(Name));
    FILE *Pipe = popen(Line, "r");
    assert_non_null(Pipe);
    Text[fread(Text, 1, (1 << 20) - 1, Pipe)] = 0;
    int Status = pclose(Pipe);
    json_t *Root = json_loads(Text, 0, NULL);
    if (!WIFEXITED(Status) || WEXITSTATUS(Status) != Code || Root == NULL)
        fail_msg("%s, verifier=%s: exit %d, expected %d\n%s", Name, Verifier, WEXITSTATUS(Status), Code, Text);
    free(Text);
    return Root;
}

static const char *TextOf(const json_t *Object, const char *Key)
{
    const char *Text = json_string_value(json_object_get(Object, Key));
    return Text != NULL ? Text : "";
}

/* Where: a routine, if it is not the line with the bug's mark that is named. Gone: it is no longer on the stack. */
static void StopsIn(const char *Name, const char *Verifier, unsigned Code, uint64_t Parameter, const char *Where, int Gone)
{
    json_t *Root = Report(Name, Verifier, 1), *Stop = json_object_get(Root, "bugcheck");
    char Place[64];
    assert_non_null(Stop);
    snprintf(Place, sizeof Place, "(workshop.c:%u)", Where != NULL ? 0 : LineOf(Name));
    const char *Function = TextOf(Stop, "function"),
               *First = json_string_value(json_array_get(json_object_get(Stop, "parameters"), 0));
    if (strtoul(TextOf(Stop, "code"), NULL, 16) != Code || (Parameter != ANY && strtoull(First, NULL, 16) != Parameter) ||
        strcmp(TextOf(Stop, "driver"), "workshop.sys") != 0 || strstr(Function, Where != NULL ? Where : Place) == NULL ||
        TextOf(Stop, "usually")[0] == 0 || TextOf(Stop, "cure")[0] == 0 || TextOf(Root, "stopped_in")[0] == 0) {
        char *Text = json_dumps(Stop, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
        fail_msg("%s, verifier=%s: expected 0x%X/0x%llx at %s in\n%s", Name, Verifier, Code, (unsigned long long)Parameter,
                 Where != NULL ? Where : Place, Text);
    }
    assert_int_equal(json_is_true(json_object_get(Stop, "off_stack")), Gone);
    json_decref(Root);
}

#define Stops(Name, Verifier, Code, Parameter, Where) StopsIn(Name, Verifier, Code, Parameter, Where, 0)

static void NoBug_IsClean(void **State)
{
    (void)State;
    json_decref(Report("Nothing", "0", 0));
    json_decref(Report("Nothing", "0x20269bb", 0));
}

static void Pool_NamesTheLine(void **State)
{
    (void)State;
    Stops("Overrun", "0", 0x19, 0x21, NULL);
    Stops("Overrun", STANDARD, 0xC1, ANY, NULL);
    Stops("ReadBehind", STANDARD, 0xD6, ANY, NULL);
    Stops("UseAfterFree", STANDARD, 0xD5, ANY, NULL);
    Stops("DoubleFree", "0", 0xC2, 7, NULL);
    Stops("DoubleFree", STANDARD, 0xC1, ANY, NULL);
    Stops("WrongTag", "0", 0xC2, 0xA, NULL);
    Stops("AllocateUnderLock", "0", 0xC2, 8, "Get");
    Stops("AllocateUnderLock", STANDARD, 0xC4, 1, "Get");
}

/* The system frees the buffer when the request's routine has returned: that is who is named. */
static void BufferOverrun_NamesTheRoutineThatReturned(void **State)
{
    (void)State;
    StopsIn("BufferOverrun", STANDARD, 0xC1, ANY, "Control (workshop.c", 1);
}

/* A bad access by a kernel routine asks for names in the trap: that takes more stack than a kernel's. */
static void EntryTwice_IsAnAccessByTheKernel(void **State)
{
    (void)State;
    Stops("EntryTwice", STANDARD, 0xCC, ANY, "Unload (workshop.c");
}

static void Irql_NamesTheLine(void **State)
{
    (void)State;
    Stops("PagedUnderLock", STANDARD, 0xD1, ANY, NULL);
    Stops("CallPageable", STANDARD, 0xD1, ANY, NULL);
    Stops("PagedInDpc", STANDARD, 0xD1, ANY, NULL);
    Stops("WaitUnderLock", "0", 0xC4, 0x3B, NULL);
    Stops("NullAtDispatch", "0", 0xD1, 8, NULL);
    Stops("LevelStays", "0", 0x4A, ANY, "Control (workshop.c");
    Stops("LevelStays", STANDARD, 0xC9, 5, "Control (workshop.c");
}

static void Locks_NameTheLine(void **State)
{
    (void)State;
    Stops("AcquireTwice", STANDARD, 0xC4, 0x1000, NULL);
    Stops("WrongOrder", STANDARD, 0xC4, 0x1001, NULL);
}

static void Leaks_NameWhoAllocated(void **State)
{
    (void)State;
    Stops("Leak", STANDARD, 0xC4, 0x62, NULL);
    Stops("LeakWorkItem", STANDARD, 0xC4, 0x62, NULL);
    Stops("LeakMdl", STANDARD, 0xC4, 0x62, NULL);
    Stops("LeftLocked", STANDARD, 0xCB, ANY, NULL);
}

static void Mappings_NameTheLine(void **State)
{
    (void)State;
    Stops("UnlockTwice", STANDARD, 0xC4, 0x7C, NULL);
    Stops("FreeMapped", STANDARD, 0xC4, 0xB8, NULL);
    Stops("UnmapTooMuch", "0", 0xDA, ANY, NULL);
}

static void Memory_NamesTheLine(void **State)
{
    (void)State;
    Stops("WriteConstant", "0", 0xBE, ANY, NULL);
    Stops("RunData", "0", 0xFC, ANY, NULL);
    Stops("WildPointer", "0", 0x50, ANY, NULL);
    Stops("DereferenceTwice", STANDARD, 0xC4, 0x3F, NULL);
    Stops("UseUpStack", "0", 0x7F, 8, "Deeper");
}

static void LiveObjects_NameTheLine(void **State)
{
    (void)State;
    Stops("TimerInFreed", STANDARD, 0xC7, 0, NULL);
    Stops("FreeResource", STANDARD, 0xC4, 0xD2, NULL);
    /* DriverUnload ends in a jump to IoDeleteDevice: its frame is gone when the extension is freed. */
    StopsIn("TimerLeft", STANDARD, 0xC7, 0, "Unload (workshop.c", 1);
}

/* With no option on nothing is stopped at the free, but a driver that leaves a timer behind is not called clean. */
static void TimerLeft_IsAFinding(void **State)
{
    static const char *const Bugs[] = {"TimerLeft", "TimerInFreed"};
    (void)State;
    for (unsigned I = 0; I < 2; I++) {
        json_t *Root = Report(Bugs[I], "0", 1);
        assert_int_equal(json_integer_value(json_object_get(json_object_get(Root, "left_behind"), "timers")), 1);
        json_decref(Root);
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(NoBug_IsClean),
        cmocka_unit_test(Pool_NamesTheLine),
        cmocka_unit_test(BufferOverrun_NamesTheRoutineThatReturned),
        cmocka_unit_test(EntryTwice_IsAnAccessByTheKernel),
        cmocka_unit_test(Irql_NamesTheLine),
        cmocka_unit_test(Locks_NameTheLine),
        cmocka_unit_test(Leaks_NameWhoAllocated),
        cmocka_unit_test(Mappings_NameTheLine),
        cmocka_unit_test(Memory_NamesTheLine),
        cmocka_unit_test(LiveObjects_NameTheLine),
        cmocka_unit_test(TimerLeft_IsAFinding),
    };
    return cmocka_run_group_tests(Tests, ReadSource, NULL);
}
