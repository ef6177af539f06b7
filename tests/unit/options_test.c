/*
 * options_test.c - options from text. SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ntmm.h>

static ntmm_options Options;
static int Defaults(void **state)
{
    (void)state;
    ntmm_default_options(&Options);
    return 0;
}

static void Parse_EveryKey_IsStored(void **state)
{
    (void)state;
    assert_int_equal(
        ntmm_parse_options(
            "ram=64M,pagefile=/tmp/page.sys,pagefile_size=256M,cpus=2,verifier=standard,seed=7,stacks=4,tlb=4096,"
            "nonpagedpool=8M,pagedpool=0x1000000,systemptes=1G,specialpool=2g,images=16MB,kernelstacks=512K,json=1",
            &Options),
        0);
    assert_int_equal(Options.ram, 64 << 20);
    assert_string_equal(Options.pagefile, "/tmp/page.sys");
    assert_int_equal(Options.pagefile_size, 256 << 20);
    assert_int_equal(Options.cpus, 2);
    assert_int_equal(Options.verifier, 0x209bb);
    assert_int_equal(Options.seed, 7);
    assert_int_equal(Options.stacks, 4);
    assert_int_equal(Options.tlb, 4096);
    assert_int_equal(Options.nonpagedpool, 8 << 20);
    assert_int_equal(Options.pagedpool, 16 << 20);
    assert_int_equal(Options.systemptes, 1ll << 30);
    assert_int_equal(Options.specialpool, 2ll << 30);
    assert_int_equal(Options.images, 16 << 20);
    assert_int_equal(Options.kernelstacks, 512 << 10);
    assert_true(Options.json);
}

static void Parse_Verifier_MaskAndNames(void **state)
{
    (void)state;
    assert_int_equal(ntmm_parse_options("verifier=0x209BB", &Options), 0);
    assert_int_equal(Options.verifier, 0x209bb);
    assert_int_equal(ntmm_parse_options("verifier=special_pool+pool_tracking", &Options), 0);
    assert_int_equal(Options.verifier, 9);
    assert_true(Options.pool_checks);
    assert_int_equal(ntmm_parse_options("verifier=none", &Options), 0);
    assert_int_equal(Options.verifier, 0);
    assert_int_equal(Options.special_pool_sample, 0);
    assert_false(Options.pool_checks);
    assert_int_equal(ntmm_parse_options("verifier=specialpool", &Options), -1);
    assert_non_null(strstr(ntmm_error(), "'specialpool'"));
    assert_non_null(strstr(ntmm_error(), "special_pool"));
    assert_int_equal(ntmm_parse_options("verifier=standard+specialpool+io", &Options), -1);
    assert_non_null(strstr(ntmm_error(), "'specialpool'")); /* the wrong one of several */
    assert_int_equal(ntmm_parse_options("verifier=0x100000000", &Options), -1);
    assert_non_null(strstr(ntmm_error(), "'0x100000000'"));
}

static void Parse_Bad_SentenceNamesItAndNothingChanges(void **state)
{
    static const struct {
        const char *Text, *Names;
    } Bad[] = {
        {"ran=1", "ram, pagefile, pagefile_size, cpus, nodes, node_ram, verifier, verifier_drivers, special_pool_tag, "
                  "special_pool_start, "
                  "special_pool_sample, special_pool_rate, pool_checks, fault_probability, fault_delay, fault_tags, seed"},
        {"ram", "option 'ram' has no value"},
        {"nonsense", "unknown option 'nonsense'"},
        {"ram=", "option ram: ''"},
        {"ram=-1", "'-1'"},
        {"ram=12Q", "'12Q'"},
        {"ram=1", "'1'"},
        {"ram=99999999999999999999", "will not do"},
        {"ram=16777216T", "will not do"},
        {"cpus=0", "1 to 64"},
        {"cpus=65", "1 to 64"},
        {"cpus=2K", "'2K'"},
        {"stacks=17", "0 to 16"},
        {"nodes=17", "1 to 16"},
        {"track_ptes=2", "0|1"},
        {"tlb=3", "16 to 32768"},
        {"nonpagedpool=1", "256K to 1T"},
        {"kernelstacks=255K", "256K to 1T"},
        {"json=2", "0|1"},
        {"fault_probability=10001", "of 10,000"},
        {"special_pool_tag=Tag12", "'Tag12'"},
        {"special_pool_start=2", "0|1"},
        {"pagefile=", "a path is missing"},
        {"pagefile=:2M", "a path is missing"},
        {"pagefile=/tmp/a:64Q", "'64Q' is no size"},
        {"pagefile=/tmp/a:64M:most", "'64M:most' is no size"},
        {"pagefile=/tmp/a:b:64M", "'b' is no size"},
        {"pagefile=/tmp/a:64M:32M", "the second not below the first"},
        {"pagefile=/tmp/a:1M;b;;c:3K", "'c:3K'"},
        {"cpus=2,ram=64M,bogus=1", "'bogus'"},
    };
    ntmm_options before = Options;
    (void)state;
    for (size_t i = 0; i < sizeof Bad / sizeof Bad[0]; i++) {
        assert_int_equal(ntmm_parse_options(Bad[i].Text, &Options), -1);
        if (!strstr(ntmm_error(), Bad[i].Names))
            fail_msg("%s: %s", Bad[i].Text, ntmm_error());
        assert_null(strchr(ntmm_error(), '\n'));
        assert_memory_equal(&before, &Options, sizeof before);
    }
}

static void Parse_EmptyAndStrayCommas_AreNothing(void **state)
{
    ntmm_options before = Options;
    (void)state;
    assert_int_equal(ntmm_parse_options("", &Options), 0);
    assert_int_equal(ntmm_parse_options(",,", &Options), 0);
    assert_memory_equal(&before, &Options, sizeof before);
}

static void Help_ListsEveryKeyOnce(void **state)
{
    const char *key, *value, *meaning;
    unsigned count = 0;
    (void)state;
    while ((key = ntmm_option_help(count, &value, &meaning)) != NULL) {
        assert_true(strlen(value) > 0 && strlen(meaning) > 0);
        for (unsigned i = 0; i < count; i++)
            assert_string_not_equal(key, ntmm_option_help(i, NULL, NULL));
        count++;
    }
    assert_true(count >= 15);
}

#define T(name) cmocka_unit_test_setup(name, Defaults)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(Parse_EveryKey_IsStored),
        T(Parse_Verifier_MaskAndNames),
        T(Parse_Bad_SentenceNamesItAndNothingChanges),
        T(Parse_EmptyAndStrayCommas_AreNothing),
        T(Help_ListsEveryKeyOnce),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
