/*
 * irql_rules.c - Driver Verifier's option 0x00020000: each documented routine at an IRQL that its page does not allow, called by a
 * driver binary (tests/sys/pageable.c). SPDX-License-Identifier: MIT
 */
#include "mm_kit.h"
#include "ldr/ldr.h"
#include "vf/vf.h"

static LDR_IMAGE *Image;

static int Start(void **State)
{
    ntmm_options Options;
    CHAR Error[LDR_ERROR_CHARS];
    BOOLEAN Entered;
    (void)State;
    ntmm_default_options(&Options);
    Options.ram = 64u << 20;
    Options.cpus = 2;
    Options.verifier = 0x00020000;
    if (ntmm_start(&Options) != 0 ||
        LdrLoadImage(NTMM_SYS "/pageable.sys", NULL, 0, &Image, Error, sizeof(Error)) != STATUS_SUCCESS) {
        return -1;
    }
    return LdrStartDriver(Image, &Entered, Error, sizeof(Error)) == STATUS_SUCCESS ? 0 : -1;
}

static int Stop(void **State)
{
    LdrStopDriver(Image, NULL);
    return LdrUnloadImage(Image) == STATUS_SUCCESS ? KitStop(State) : -1;
}

typedef struct CALL {
    ULONG Level, Routine;
} CALL;
static void Call(void *Argument)
{
    const CALL *This = Argument;
    ULONG (*Routine)(ULONG, ULONG) = (PVOID)LdrFindExport(Image, "CallAt");
    (void)KI_CALLOUT(ULONG, Routine, (ULONG, ULONG), (This->Level, This->Routine));
}

static ntmm_bugcheck StopOf(ULONG Level, ULONG Routine)
{
    CALL This = {Level, Routine};
    ntmm_bugcheck Stop;
    assert_true(ntmm_catch(Call, &This, &Stop));
    assert_int_equal(Stop.code, DRIVER_VERIFIER_DETECTED_VIOLATION);
    assert_int_equal(KeGetCurrentIrql(), PASSIVE_LEVEL);
    return Stop;
}

static void Rules_BrokenByADriver_AreNamed(void **State)
{
    ntmm_bugcheck Stop;
    (void)State;
    Stop = StopOf(5, 0);
    assert_int_equal(Stop.parameters[0], 0x20004);
    assert_string_equal((const char *)Stop.parameters[1], Stop.words);
    Stop = StopOf(DISPATCH_LEVEL, 1);
    assert_int_equal(Stop.parameters[0], 0x20019);
    Stop = StopOf(5, 2);
    assert_int_equal(Stop.parameters[0], 0x2001A);
    Stop = StopOf(DISPATCH_LEVEL, 3);
    assert_int_equal(Stop.parameters[0], 0xE5);
    assert_int_equal(Stop.parameters[1], DISPATCH_LEVEL);
    assert_int_equal(Stop.parameters[2], APC_LEVEL);
    assert_string_equal((const char *)Stop.parameters[3], "RtlFreeUnicodeString");
    Stop = StopOf(DISPATCH_LEVEL, 6);
    assert_int_equal(Stop.parameters[0], 0xE5);
    assert_int_equal(Stop.parameters[1], DISPATCH_LEVEL);
    assert_int_equal(Stop.parameters[2], APC_LEVEL);
    assert_string_equal((const char *)Stop.parameters[3], "RtlEqualUnicodeString");
}

/* Bug Check 0xC4, 0x20002 to 0x20024: parameter 2 "pointer to the string that describes the violated rule condition". */
static void Rules_ThatHaveANumber_StopWithIt(void **State)
{
    static const struct {
        ULONG Level, Routine, Number;
        const char *Words;
    } Broken[] = {
        {APC_LEVEL, 4, 0x2001F, "A routine that must be called at PASSIVE_LEVEL was called above it."},  /* IrqlZwPassive */
        {APC_LEVEL, 5, 0x20003, "A routine that must be called at DISPATCH_LEVEL was called below it."}, /* IrqlDispatch */
        {PASSIVE_LEVEL, 5, 0x20003, "A routine that must be called at DISPATCH_LEVEL was called below it."},
        {5, 5, 0x20003, "A routine that must be called at DISPATCH_LEVEL or below was called above it."},
        {5, 7, 0x20011,
         "A routine that must be called at DISPATCH_LEVEL or below was called above it."}, /* IrqlKeDispatchLte */
        {DISPATCH_LEVEL, 8, 0x20006,
         "A routine that must be called at APC_LEVEL or below was called above it."}, /* IrqlExApcLte2 */
        {DISPATCH_LEVEL, 9, 0x2000D,
         "A routine that must be called at PASSIVE_LEVEL was called above it."}, /* IrqlIoPassive4 */
    };
    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Broken); Index++) {
        ntmm_bugcheck Stop = StopOf(Broken[Index].Level, Broken[Index].Routine);
        assert_int_equal(Stop.parameters[0], Broken[Index].Number);
        assert_string_equal((const char *)Stop.parameters[1], Broken[Index].Words);
        assert_string_equal(Stop.words, Broken[Index].Words);
        assert_int_equal(Stop.parameters[2], 0);
        assert_int_equal(Stop.parameters[3], 0);
    }
}

static void Rules_Kept_AreNot(void **State)
{
    static CALL Right[] = {{PASSIVE_LEVEL, 0},  {DISPATCH_LEVEL, 0}, {PASSIVE_LEVEL, 1},  {APC_LEVEL, 1},
                           {APC_LEVEL, 3},      {PASSIVE_LEVEL, 4},  {DISPATCH_LEVEL, 5}, {APC_LEVEL, 6},
                           {DISPATCH_LEVEL, 7}, {APC_LEVEL, 8},      {PASSIVE_LEVEL, 9}};
    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Right); Index++) {
        assert_false(ntmm_catch(Call, &Right[Index], NULL));
    }
}

static void Table_HasWhatThePagesSay(void **State)
{
    (void)State;
    assert_int_equal(VfHighestIrql("ExAllocatePool2"), DISPATCH_LEVEL);
    assert_int_equal(VfHighestIrql("ExAllocateFromPagedLookasideList"), APC_LEVEL);
    assert_int_equal(VfHighestIrql("ZwClose"), PASSIVE_LEVEL);
    assert_int_equal(VfHighestIrql("MmFreeContiguousMemory"), DISPATCH_LEVEL);
    assert_int_equal(VfHighestIrql("KeGetCurrentIrql"), -1);      /* any */
    assert_int_equal(VfHighestIrql("KeWaitForSingleObject"), -1); /* depends on the time-out */
    assert_int_equal(VfHighestIrql("AAA"), -1);
    assert_int_equal(VfHighestIrql("zzz"), -1);
    assert_int_equal(VfHighestIrql("IoCreateDevice"), APC_LEVEL);             /* its page; its rule says PASSIVE_LEVEL */
    assert_int_equal(VfHighestIrql("KeInitializeSemaphore"), DISPATCH_LEVEL); /* its rule; its page says PASSIVE_LEVEL */
}

/* Every rule is found by its name (the table is sorted), and is one of a routine that the border has. */
static void Table_IsSorted_AndOfWhatIsExported(void **State)
{
    static const struct {
        const char *Name;
        KIRQL Lowest, Highest;
        ULONG Number;
    } Rules[] = {
#define IRQL_RULE(Name, Lowest, Highest, Number) {#Name, Lowest, Highest, Number},
#include "vf/irqlrules.def"
#undef IRQL_RULE
    };
    (void)State;
    for (ULONG Index = 0; Index < ARRAYSIZE(Rules); Index++) {
        assert_int_equal(VfHighestIrql(Rules[Index].Name), Rules[Index].Highest);
        assert_true(Rules[Index].Lowest <= Rules[Index].Highest);
        assert_true(Rules[Index].Number == 0xE5 || (Rules[Index].Number >= 0x20002 && Rules[Index].Number <= 0x20024));
        ULONG Entry = 0;
        while (Entry < LdrEntryCount && strcmp(LdrEntries[Entry].Name, Rules[Index].Name) != 0) {
            Entry++;
        }
        assert_true(Entry < LdrEntryCount);
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Rules_BrokenByADriver_AreNamed),
        cmocka_unit_test(Rules_ThatHaveANumber_StopWithIt),
        cmocka_unit_test(Rules_Kept_AreNot),
        cmocka_unit_test(Table_HasWhatThePagesSay),
        cmocka_unit_test(Table_IsSorted_AndOfWhatIsExported),
    };
    return cmocka_run_group_tests(Tests, Start, Stop);
}
