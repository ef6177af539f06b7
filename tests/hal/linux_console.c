/* linux_console.c - console and halt over the Linux machine; the cost of a start. SPDX-License-Identifier:
 * MIT */
#include "hal/kit.h"
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static VOID MapAtFault(HAL_TRAP_FRAME *Frame)
{
    KitMap(Frame->FaultAddress & ~0xFFFull, KIT_DATA + 1, KIT_RW);
}
/* What Body writes to stderr. */
static SIZE_T Captured(VOID (*Body)(VOID), CHAR *Text, SIZE_T Bytes)
{
    int Pipe[2], Real = dup(2);
    SIZE_T Length = 0;
    assert_int_equal(pipe(Pipe), 0);
    pid_t Reader = fork();
    if (Reader == 0) { /* empties the pipe slowly, so that writes come back short */
        int Out = dup(1);
        (void)Out;
        close(Pipe[1]);
        CHAR Part[1000];
        ssize_t Got;
        FILE *Keep = fopen("/tmp/ntmm-hal-console", "w");
        while ((Got = read(Pipe[0], Part, sizeof(Part))) > 0) {
            fwrite(Part, 1, (size_t)Got, Keep);
        }
        fclose(Keep);
        _exit(0);
    }
    close(Pipe[0]);
    dup2(Pipe[1], 2);
    close(Pipe[1]);
    Body();
    dup2(Real, 2);
    close(Real);
    waitpid(Reader, NULL, 0);
    FILE *Keep = fopen("/tmp/ntmm-hal-console", "r");
    Length = fread(Text, 1, Bytes, Keep);
    fclose(Keep);
    remove("/tmp/ntmm-hal-console");
    return Length;
}
static CHAR Long[200000], Back[300000];
static VOID PrintAll(VOID)
{
    HalPrint("begin\n", 6);
    HalPrint(Long, sizeof(Long));
    HalPrint((const CHAR *)KitVa(3) + 10, 5000); /* simulated memory, one page of it not present */
    HalPrint("", 0);
}
static void Print_WritesAllOfIt(void **State)
{
    (void)State;
    for (ULONG i = 0; i < sizeof(Long); i++) {
        Long[i] = (CHAR)('a' + i % 26);
    }
    KitOnFault = MapAtFault;
    KitMap(KitVa(3), KIT_DATA, KIT_RW);
    memset(HalWindow(KIT_DATA), 'X', 4096);
    memset(HalWindow(KIT_DATA + 1), 'Y', 4096);
    SIZE_T Length = Captured(PrintAll, Back, sizeof(Back));
    assert_int_equal(Length, 6 + sizeof(Long) + 5000);
    assert_memory_equal(Back, "begin\n", 6);
    assert_memory_equal(Back + 6, Long, sizeof(Long));
    assert_int_equal(Back[6 + sizeof(Long)], 'X');
    assert_int_equal(Back[6 + sizeof(Long) + 4085], 'X');
    assert_int_equal(Back[6 + sizeof(Long) + 4086], 'Y');
    assert_int_equal(Back[6 + sizeof(Long) + 4999], 'Y');
}
static void Halt_EndsAsAbortDoes(void **State)
{
    (void)State;
    fflush(NULL);
    pid_t Child = fork();
    if (Child == 0) {
        struct rlimit None = {0, 0};
        setrlimit(RLIMIT_CORE, &None);
        HalHalt();
    }
    int Status;
    assert_int_equal(waitpid(Child, &Status, 0), Child);
    assert_true(WIFSIGNALED(Status) && WTERMSIG(Status) == SIGABRT);
}
static long Resident(VOID)
{
    long Size = 0, Pages = 0;
    FILE *Statm = fopen("/proc/self/statm", "r");
    assert_int_equal(fscanf(Statm, "%ld %ld", &Size, &Pages), 2);
    fclose(Statm);
    return Pages;
}
static void Start_TouchesNoRam(void **State)
{
    (void)State;
    KitStop();
    long Before = Resident();
    KitStart((1ull << 30) >> 12, 0);
    long After = Resident();
    assert_true(After - Before < 512); /* of 262,144 */
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        KIT_TEST(Print_WritesAllOfIt),
        KIT_TEST(Halt_EndsAsAbortDoes),
        KIT_TEST(Start_TouchesNoRam),
    };
    return cmocka_run_group_tests_name("hal.linux_console", Tests, NULL, NULL);
}
