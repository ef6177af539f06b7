/*
 * start_test.c - starting and stopping the system, and the sentences when it cannot. SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <ntddk.h>
#include <ntmm.h>

static void Stop(void *argument)
{
    KeBugCheckEx(0xE2, (ULONG_PTR)argument, 2, 3, 4);
}

static void Start_Twice_SecondRefused(void **state)
{
    ntmm_options options;
    (void)state;
    ntmm_default_options(&options);
    options.ram = 64 << 20;
    assert_int_equal(ntmm_start(&options), 0);
    assert_true(ntmm_running());
    assert_int_equal(ntmm_running_options()->ram, 64 << 20);
    assert_int_equal(ntmm_start(&options), -1);
    assert_string_equal(ntmm_error(), "the system runs already");
    assert_int_equal(ntmm_stop(), 0);
    assert_false(ntmm_running());
    assert_int_equal(ntmm_stop(), -1);
}

static void Start_AfterStop_RunsAgain(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        ntmm_bugcheck stop;
        ntmm_options options;
        ntmm_default_options(&options);
        options.ram = 32 << 20;
        assert_int_equal(ntmm_start(&options), 0);
        assert_true(ntmm_catch(Stop, (void *)1, &stop));
        assert_int_equal(stop.code, 0xE2);
        assert_int_equal(stop.parameters[0], 1);
        assert_int_equal(stop.parameters[3], 4);
        assert_string_equal(stop.name, "MANUALLY_INITIATED_CRASH");
        assert_int_equal(ntmm_stop(), 0);
    }
}

static void Start_RamTooSmall_SentenceNamesIt(void **state)
{
    ntmm_options options;
    (void)state;
    ntmm_default_options(&options);
    options.ram = 1 << 20;
    assert_int_equal(ntmm_start(&options), -1);
    assert_non_null(strstr(ntmm_error(), "ram=1048576"));
    assert_false(ntmm_running());
}

static void Start_PageFileCannotBeCreated_SentenceNamesIt(void **state)
{
    ntmm_options options;
    (void)state;
    ntmm_default_options(&options);
    options.ram = 32 << 20;
    strcpy(options.pagefile, "/nonexistent/page.sys");
    assert_int_equal(ntmm_start(&options), -1);
    assert_non_null(strstr(ntmm_error(), "/nonexistent/page.sys"));
    assert_non_null(strstr(ntmm_error(), "No such file"));
    assert_false(ntmm_running());
    strcpy(options.pagefile, "/");
    assert_int_equal(ntmm_start(&options), -1);
}

static void Start_PageFile_TakesItsSpaceAndLeavesNothing(void **state)
{
    char path[] = "/tmp/ntmm-pagefile-XXXXXX";
    ntmm_options options;
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    ntmm_default_options(&options);
    options.ram = 32 << 20;
    options.pagefile_size = 2 << 20;
    strcpy(options.pagefile, path);
    assert_int_equal(ntmm_start(&options), -1); /* a file that is there is not ours to take */
    assert_non_null(strstr(ntmm_error(), "taken"));
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    assert_int_equal(ntmm_start(&options), 0);
    assert_int_equal(ntmm_running_options()->pagefile_size, 2 << 20);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(ntmm_stop(), 0);
}

static void Start_PageFileSizeWithoutPageFile_Refused(void **state)
{
    ntmm_options options;
    (void)state;
    ntmm_default_options(&options);
    options.pagefile_size = 1 << 20;
    assert_int_equal(ntmm_start(&options), -1);
    assert_non_null(strstr(ntmm_error(), "pagefile"));
}

/* Runs a child whose first kernel call starts the system from NTMM_OPTIONS; its exit code, its stderr in text. */
static int AutoStart(const char *options, char *text, size_t size)
{
    int pipes[2], status;
    pid_t child;
    ssize_t got;
    assert_int_equal(pipe(pipes), 0);
    child = fork();
    if (child == 0) {
        dup2(pipes[1], 2);
        close(pipes[0]);
        setenv("NTMM_OPTIONS", options, 1);
        _exit(KeGetCurrentIrql() == PASSIVE_LEVEL && ntmm_running() ? 0 : 9);
    }
    close(pipes[1]);
    size_t used = 0;
    while ((got = read(pipes[0], text + used, size - 1 - used)) > 0)
        used += (size_t)got;
    text[used] = 0;
    close(pipes[0]);
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void AutoStart_Environment_Decides(void **state)
{
    char text[4096];
    (void)state;
    assert_int_equal(AutoStart("ram=32M", text, sizeof text), 0);
    assert_string_equal(text, "");
    assert_int_equal(AutoStart("ran=32M", text, sizeof text), 2);
    assert_non_null(strstr(text, "unknown option 'ran'; the options are ram, pagefile"));
    assert_int_equal(AutoStart("ram=lots", text, sizeof text), 2);
    assert_non_null(strstr(text, "option ram: 'lots' will not do"));
    assert_int_equal(AutoStart("ram=32M,pagefile=/nonexistent/p", text, sizeof text), 2);
    assert_non_null(strstr(text, "/nonexistent/p"));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* one sentence */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(AutoStart_Environment_Decides),
        cmocka_unit_test(Start_Twice_SecondRefused),
        cmocka_unit_test(Start_AfterStop_RunsAgain),
        cmocka_unit_test(Start_RamTooSmall_SentenceNamesIt),
        cmocka_unit_test(Start_PageFileCannotBeCreated_SentenceNamesIt),
        cmocka_unit_test(Start_PageFile_TakesItsSpaceAndLeavesNothing),
        cmocka_unit_test(Start_PageFileSizeWithoutPageFile_Refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
