/* linux_guard.c - programs may set handlers for the processor's signals; the machine keeps its faults.
 * SPDX-License-Identifier: MIT */
#include "hal/kit.h"
#include <pthread.h>
#include <signal.h>

static volatile int Mine, Other;
static sigjmp_buf Back;
static void OnSegv(int Signal)
{
    Mine = Signal;
    siglongjmp(Back, 1);
}
static void OnSegvInfo(int Signal, siginfo_t *Info, void *Context)
{
    (void)Context;
    Mine = Info->si_addr == (void *)24 ? Signal : -1;
    siglongjmp(Back, 1);
}
static void OnUser(int Signal)
{
    Other = Signal;
}
static VOID Map(HAL_TRAP_FRAME *Frame)
{
    KitMap(Frame->FaultAddress & ~0xFFFull, KIT_DATA + 3, KIT_RW);
}
static void *Crash(void *Address)
{
    if (sigsetjmp(Back, 1) == 0) {
        *(volatile int *)Address = 1;
    }
    return NULL;
}
/* clang links its sanitizers' runtimes into the program: the program's own calls of signal() go straight
 * there. Calls from other objects (cmocka's) are seen all the same: every test of this suite shows it. */
#if defined(__clang__) && NTMM_SANITIZED
#define DIRECT_CALLS_ONLY() skip()
#else
#define DIRECT_CALLS_ONLY() ((void)0)
#endif

static VOID CrashUnattached(VOID)
{
    pthread_t Thread;
    assert_int_equal(pthread_create(&Thread, NULL, Crash, (void *)24), 0);
    pthread_join(Thread, NULL);
}

static void Signal_ForAFault_ComesAfterTheMachine(void **State)
{
    (void)State;
    DIRECT_CALLS_ONLY();
    KitOnFault = Map;
    void (*Before)(int) = signal(SIGSEGV, OnSegv);
    assert_ptr_not_equal(Before, SIG_ERR);
    *(volatile ULONG64 *)KitVa(9) = 5; /* still the machine's */
    assert_int_equal(Kit.Count, 1);
    Mine = 0;
    CrashUnattached();
    assert_int_equal(Mine, SIGSEGV);
    assert_ptr_equal(signal(SIGSEGV, Before), OnSegv);
    assert_int_equal(Kit.Count, 1);
}
static void Sigaction_ForAFault_IsAnsweredAsIfDone(void **State)
{
    (void)State;
    DIRECT_CALLS_ONLY();
    struct sigaction New, Old, Now;
    memset(&New, 0, sizeof(New));
    New.sa_sigaction = OnSegvInfo;
    New.sa_flags = SA_SIGINFO;
    sigaddset(&New.sa_mask, SIGUSR2);
    assert_int_equal(sigaction(SIGSEGV, &New, &Old), 0);
    assert_int_equal(sigaction(SIGSEGV, NULL, &Now), 0);
    assert_true(Now.sa_sigaction == OnSegvInfo);
    assert_int_equal(Now.sa_flags & SA_SIGINFO, SA_SIGINFO);
    assert_true(sigismember(&Now.sa_mask, SIGUSR2));
    Mine = 0;
    CrashUnattached();
    assert_int_equal(Mine, SIGSEGV);
    /* once only */
    New.sa_flags = SA_SIGINFO | SA_RESETHAND;
    sigaction(SIGSEGV, &New, NULL);
    CrashUnattached();
    sigaction(SIGSEGV, NULL, &Now);
    assert_true(Now.sa_handler == SIG_DFL);
    sigaction(SIGSEGV, &Old, NULL);
    KitOnFault = Map;
    *(volatile ULONG64 *)KitVa(9) = 5;
    assert_int_equal(Kit.Count, 1);
}
static void Handler_SetMeanwhile_HoldsAfterTheStop(void **State)
{
    (void)State;
    DIRECT_CALLS_ONLY();
    struct sigaction Now;
    void (*Before)(int) = signal(SIGFPE, OnSegv);
    KitStop();
    sigaction(SIGFPE, NULL, &Now);
    assert_true(Now.sa_handler == OnSegv);
    Mine = 0;
    if (sigsetjmp(Back, 1) == 0) {
        raise(SIGFPE);
    }
    assert_int_equal(Mine, SIGFPE);
    signal(SIGFPE, Before);
}
static void OtherSignals_GoWhereTheyAlwaysWent(void **State)
{
    (void)State;
    void (*Before)(int) = signal(SIGUSR1, OnUser);
    Other = 0;
    raise(SIGUSR1);
    assert_int_equal(Other, SIGUSR1);
    assert_ptr_equal(signal(SIGUSR1, Before), OnUser);
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        KIT_TEST(Signal_ForAFault_ComesAfterTheMachine),
        KIT_TEST(Sigaction_ForAFault_IsAnsweredAsIfDone),
        KIT_TEST(Handler_SetMeanwhile_HoldsAfterTheStop),
        KIT_TEST(OtherSignals_GoWhereTheyAlwaysWent),
    };
    return cmocka_run_group_tests_name("hal.linux_guard", Tests, NULL, NULL);
}
