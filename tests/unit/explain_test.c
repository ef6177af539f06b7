/*
 * explain_test.c - every documented way of making a memory bug check has a cause and a cure of its own. SPDX-License-Identifier: MIT
 *
 * The rows are those of the detection matrix (tests/matrix/rows.tsv), whose ids are code, code/parameter or
 * code/parameter/parameter: what `ntmm explain` is given is made of them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "host/host.h"

static char Text[65536];

typedef struct TALE {
    const char *Cause, *Cure;
} TALE;

/* A sentence or two: begins with a capital, ends with a full stop, of a length that one reads. */
static void CheckSentence(const char *Row, const char *Words)
{
    size_t Length = strlen(Words);
    if (Length < 12 || Length > 330 || Words[Length - 1] != '.' || strstr(Words, "  ") != NULL)
        fail_msg("%s: \"%s\"", Row, Words);
}

/* Reads an id; the number of parameters that it gives (of which parameter At is the first). */
static unsigned ReadId(const char *Id, uint32_t *Code, uint64_t Parameters[4], unsigned *At)
{
    char *End;
    *Code = (uint32_t)strtoul(Id, &End, 16);
    memset(Parameters, 0, 4 * sizeof *Parameters);
    *At = *Code == 0xC1 || *Code == 0x50 ? 3 : 0;
    if (*End != '/')
        return 0;
    Parameters[*At] = strtoull(End + 1, &End, 16);
    if (*End != '/')
        return *At + 1;
    Parameters[1] = strtoull(End + 1, &End, 16);
    return 2;
}

static void EachRow_HasCauseAndCureOfItsOwn(void **State)
{
    char Line[1024];
    unsigned Rows = 0, Bad = 0;
    FILE *File = fopen(NTMM_ROWS, "r");
    (void)State;
    assert_non_null(File);
    while (fgets(Line, sizeof Line, File) != NULL) {
        uint32_t Code;
        uint64_t Parameters[4];
        unsigned At, Count;
        TALE Own = {NULL, NULL}, General = {NULL, NULL};
        *strchr(Line, '\t') = 0;
        Count = ReadId(Line, &Code, Parameters, &At);
        if (!HostAdvise(Code, Parameters, Count == 0 ? 4 : Count, &Own.Cause, &Own.Cure))
            fail_msg("%s has no cause and cure", Line); /* nothing more to look at */
        CheckSentence(Line, Own.Cause);
        CheckSentence(Line, Own.Cure);
        /* The reserved value of 0x139 says nothing. */
        if (Count != 0 && !(Code == 0x139 && Parameters[0] == 4) && Code != 0x4E &&
            HostAdvise(Code, NULL, 0, &General.Cause, &General.Cure) && strcmp(Own.Cause, General.Cause) == 0 &&
            strcmp(Own.Cure, General.Cure) == 0) {
            print_error("%s has the general words only\n", Line);
            Bad++;
        }
        Rows++;
    }
    fclose(File);
    assert_int_equal(Bad, 0);
    assert_true(Rows > 300);
}

/* What is reached among 0x4E: pages unlocked twice, freed while locked. */
static void PfnRows_ThatAreReached_HaveTheirOwn(void **State)
{
    uint64_t Unlocked = 7, Freed = 0x9A;
    TALE General, First, Second;
    (void)State;
    assert_true(HostAdvise(0x4E, NULL, 0, &General.Cause, &General.Cure));
    assert_true(HostAdvise(0x4E, &Unlocked, 1, &First.Cause, &First.Cure));
    assert_true(HostAdvise(0x4E, &Freed, 1, &Second.Cause, &Second.Cure));
    assert_string_not_equal(First.Cause, General.Cause);
    assert_string_not_equal(Second.Cause, General.Cause);
    assert_string_not_equal(First.Cause, Second.Cause);
}

static void Words(uint32_t Code, const char *Expected, unsigned Count, ...)
{
    uint64_t Parameters[4];
    va_list List;
    va_start(List, Count);
    for (unsigned I = 0; I < Count; I++)
        Parameters[I] = va_arg(List, uint64_t);
    va_end(List);
    assert_true(ntmm_explain(Code, Parameters, Count, Text, sizeof Text) > 0);
    if (strstr(Text, Expected) == NULL)
        fail_msg("\"%s\" is not in:\n%s", Expected, Text);
}

static void Selectors_ChooseTheRow(void **State)
{
    (void)State;
    Words(0xC4, "still has blocks of pool", 1, (uint64_t)0x62);
    Words(0xE6, "beyond the end of the DMA buffer", 2, (uint64_t)0xF, (uint64_t)2);
    Words(0xE6, "before the start of the DMA buffer", 2, (uint64_t)0xF, (uint64_t)1);
    Words(0xE6, "0xF 0x5:", 1, (uint64_t)0xF); /* lists what the second parameter would tell */
    Words(0xE6, "parameter 2", 2, (uint64_t)0x13, (uint64_t)2);
    Words(0xC8, "Expanded-stack callout", 1, (uint64_t)0x20002);
    Words(0x0A, "pointer that is NULL", 1, (uint64_t)0x20);
    Words(0xD1, "code of its own", 3, (uint64_t)0x123456, (uint64_t)2, (uint64_t)8);
    Words(0xC1, "The parameters tell which", 2, (uint64_t)0x123456, (uint64_t)0x123456);
    Words(0xC1, "alignment slack", 4, (uint64_t)0x123456, (uint64_t)0x123456, (uint64_t)0, (uint64_t)0x24);
    Words(0x50, "pointer to freed pool", 4, (uint64_t)0x123456, (uint64_t)0, (uint64_t)0, (uint64_t)0);
    Words(0xC4, "not ones that the documents name", 1, (uint64_t)0x9999);
    Words(0x4000008A, "THREAD_TERMINATE_HELD_MUTEX", 0);
    assert_null(strstr((ntmm_explain(0xE6, (uint64_t[]){0xF}, 1, Text, sizeof Text), Text), "0x10:"));
}

static void Wrapped_KeepsToItsWidth(void **State)
{
    char Bytes[256];
    HOST_TEXT Wrapped = {Bytes, sizeof Bytes, 0};
    (void)State;
    HostPutWrapped(&Wrapped, "head:", "one two three  four", 2, 12);
    assert_string_equal(Bytes, "head: one\n   two three\n   four\n");
    assert_int_equal(Wrapped.Used, strlen(Bytes));
    Wrapped = (HOST_TEXT){Bytes, 4, 0}; /* says what it would need */
    HostPut(&Wrapped, "%s", "0123456789");
    assert_string_equal(Bytes, "012");
    assert_int_equal(Wrapped.Used, 10);
}

static void Json_HasTheSame(void **State)
{
    json_t *Root = HostExplainJson(0xC4, (uint64_t[]){0x62}, 1);
    (void)State;
    assert_string_equal(json_string_value(json_object_get(Root, "code")), "0xC4");
    assert_non_null(strstr(json_string_value(json_object_get(Root, "usually")), "still has blocks of pool"));
    assert_non_null(strstr(json_string_value(json_object_get(Root, "cure")), "DriverUnload"));
    assert_string_equal(json_string_value(json_array_get(json_object_get(Root, "meanings"), 1)), "driver name");
    assert_null(json_object_get(Root, "rows"));
    json_decref(Root);
    Root = HostExplainJson(0xE6, (uint64_t[]){0xF}, 1); /* five rows, each with its own */
    assert_int_equal(json_array_size(json_object_get(Root, "rows")), 5);
    assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(Root, "rows"), 1), "selected_by")),
                        "0xF 0x2");
    assert_non_null(strstr(json_string_value(json_object_get(json_array_get(json_object_get(Root, "rows"), 1), "usually")),
                           "beyond the end"));
    json_decref(Root);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(EachRow_HasCauseAndCureOfItsOwn),
        cmocka_unit_test(PfnRows_ThatAreReached_HaveTheirOwn),
        cmocka_unit_test(Selectors_ChooseTheRow),
        cmocka_unit_test(Wrapped_KeepsToItsWidth),
        cmocka_unit_test(Json_HasTheSame),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
