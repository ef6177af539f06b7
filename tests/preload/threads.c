/*
 * threads.c - libntmm_malloc.so with threads: blocks freed elsewhere, thread ends, destructors that allocate, and fork while
 * other threads are at it. Runs on the library itself. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned Next(unsigned *State)
{
    *State = *State * 1664525u + 1013904223u;
    return *State >> 8;
}

#define SHARED 256
static void *volatile Shared[SHARED];
static volatile bool Stop;
/* Allocates, writes, swaps with the others, checks, frees. */
static void *Churn(void *Argument)
{
    unsigned State = (unsigned)(uintptr_t)Argument;
    for (unsigned I = 0; Argument ? I < 60000 : !Stop; I++) {
        size_t Bytes = 8 + (Next(&State) % 50 == 0 ? Next(&State) % 30000 : Next(&State) % 600);
        size_t *Block = malloc(Bytes);
        if (Block == NULL)
            abort();
        *Block = Bytes;
        ((unsigned char *)Block)[Bytes - 1] = (unsigned char)Bytes;
        if (Bytes == 8)
            *Block = 8;
        Block = __atomic_exchange_n(&Shared[Next(&State) % SHARED], Block, __ATOMIC_ACQ_REL);
        if (Block != NULL) {
            Bytes = *Block & 0xFFFF;
            if (Bytes > 8 && ((unsigned char *)Block)[Bytes - 1] != (unsigned char)Bytes)
                abort();
            free(Block);
        }
    }
    return NULL;
}
static void Drain(void)
{
    for (unsigned I = 0; I < SHARED; I++)
        free(__atomic_exchange_n(&Shared[I], NULL, __ATOMIC_ACQ_REL));
}

static void Crowd(void **State)
{
    pthread_t Threads[8];
    (void)State;
    for (unsigned Round = 0; Round < 2; Round++) {
        for (unsigned I = 0; I < 8; I++)
            assert_int_equal(pthread_create(&Threads[I], NULL, Churn, (void *)(uintptr_t)(I + 1)), 0);
        for (unsigned I = 0; I < 8; I++)
            assert_int_equal(pthread_join(Threads[I], NULL), 0);
    }
    Drain();
}

static void *Short(void *Argument)
{
    void *Block = malloc((size_t)(uintptr_t)Argument % 3000 + 1);
    memset(Block, 1, (size_t)(uintptr_t)Argument % 3000 + 1);
    free(malloc(100));
    return Block;
}
static long Resident(void)
{
    long Pages = 0, Size = 0;
    FILE *File = fopen("/proc/self/statm", "r");
    assert_int_equal(fscanf(File, "%ld %ld", &Size, &Pages), 2);
    fclose(File);
    return Pages * 4;
}
/* More threads than any table has, each ended before the next: what a thread had is used again. */
static void ManyThreads(void **State)
{
    long Middle = 0;
    (void)State;
    for (uintptr_t I = 0; I < 6000; I++) {
        pthread_t Thread;
        void *Block;
        assert_int_equal(pthread_create(&Thread, NULL, Short, (void *)I), 0);
        assert_int_equal(pthread_join(Thread, &Block), 0);
        free(Block);
        if (I == 3000)
            Middle = Resident();
    }
    assert_true(Resident() < Middle + 9000);
}

/* Destructors of thread-specific data that allocate and free, in every round the C library makes. */
static pthread_key_t Keys[4];
static volatile unsigned DestructorRuns;
static void Destructor(void *Value)
{
    unsigned char *Block = Value;
    unsigned Round = Block[0];
    __atomic_add_fetch(&DestructorRuns, 1, __ATOMIC_RELAXED);
    free(Block);
    free(malloc(300));
    if (Round < 6) {
        Block = malloc(Round * 100 + 1);
        Block[0] = (unsigned char)(Round + 1);
        for (unsigned I = 0; I < 4; I++)
            if (pthread_getspecific(Keys[I]) == NULL) {
                pthread_setspecific(Keys[I], Block);
                return;
            }
        free(Block);
    }
}
static void *WithKeys(void *Argument)
{
    for (unsigned I = 0; I < 4; I++) {
        char *Block = calloc(1, 64);
        pthread_setspecific(Keys[I], Block);
    }
    return Argument;
}
static void LateDestructors(void **State)
{
    (void)State;
    for (unsigned I = 0; I < 4; I++)
        assert_int_equal(pthread_key_create(&Keys[I], Destructor), 0);
    for (unsigned I = 0; I < 500; I++) {
        pthread_t Thread;
        assert_int_equal(pthread_create(&Thread, NULL, WithKeys, NULL), 0);
        assert_int_equal(pthread_join(Thread, NULL), 0);
    }
    assert_true(DestructorRuns >= 500 * 8);
}

/* The program's own handlers, which use the heap: ours come before them, though nothing was registered when these were. */
static void *HandlersBlock;
static unsigned HandlersRan;
static void HandlerBefore(void)
{
    HandlersBlock = malloc(777);
    memset(HandlersBlock, 7, 777);
}
static void HandlerAfter(void)
{
    free(HandlersBlock);
    free(malloc(70000));
    HandlersRan++;
}

/* Forks while three threads allocate without pause: the child can allocate, free what was there, and shares nothing. */
static void ForkInTheMiddle(void **State)
{
    pthread_t Threads[3];
    (void)State;
    Stop = false;
    for (unsigned I = 0; I < 3; I++)
        assert_int_equal(pthread_create(&Threads[I], NULL, Churn, NULL), 0);
    for (unsigned Round = 0; Round < 120; Round++) {
        unsigned Ran = HandlersRan;
        unsigned char *Mine = malloc(5000), *Large = malloc(300000);
        memset(Mine, 1, 5000);
        memset(Large, 1, 300000);
        pid_t Child = fork();
        assert_true(Child >= 0);
        if (HandlersRan != Ran + 1)
            _exit(111);
        if (Child == 0) {
            alarm(20); /* a lock that nobody will release ends here */
            memset(Mine, 2, 5000);
            memset(Large, 2, 300000);
            unsigned Seed = Round;
            for (unsigned I = 0; I < 3000; I++)
                free(malloc(Next(&Seed) % 5000));
            for (unsigned I = 0; I < SHARED; I++) /* blocks of threads that are not here */
                free(__atomic_exchange_n(&Shared[I], NULL, __ATOMIC_ACQ_REL));
            free(Mine);
            free(Large);
            pthread_t Thread;
            if (pthread_create(&Thread, NULL, Churn, (void *)1) != 0 || pthread_join(Thread, NULL) != 0)
                _exit(2);
            _exit(Round % 100);
        }
        int Status;
        assert_int_equal(waitpid(Child, &Status, 0), Child);
        assert_true(WIFEXITED(Status));
        assert_int_equal(WEXITSTATUS(Status), Round % 100);
        for (unsigned I = 0; I < 5000; I++)
            assert_int_equal(Mine[I], 1);
        for (unsigned I = 0; I < 300000; I++)
            assert_int_equal(Large[I], 1);
        free(Mine);
        free(Large);
    }
    Stop = true;
    for (unsigned I = 0; I < 3; I++)
        assert_int_equal(pthread_join(Threads[I], NULL), 0);
    Drain();
}

/* A fork of a fork, with the heap used in each. */
static void ForkChain(void **State)
{
    (void)State;
    char *Block = strdup("parent");
    pid_t Child = fork();
    if (Child == 0) {
        strcpy(Block, "child");
        pid_t Grandchild = fork();
        if (Grandchild == 0) {
            strcpy(Block, "grand");
            free(Block);
            _exit(malloc(100000) ? 0 : 1);
        }
        int Status;
        waitpid(Grandchild, &Status, 0);
        _exit(Status == 0 && strcmp(Block, "child") == 0 ? 0 : 1);
    }
    int Status;
    assert_int_equal(waitpid(Child, &Status, 0), Child);
    assert_int_equal(Status, 0);
    assert_string_equal(Block, "parent");
    free(Block);
}

/* The C library's own fork in daemon(): what comes out of it has a heap. */
static void Daemon(void **State)
{
    int Pipe[2], Status;
    char Byte = 0;
    (void)State;
    assert_int_equal(pipe(Pipe), 0);
    pid_t Child = fork();
    assert_true(Child >= 0);
    if (Child == 0) {
        alarm(20);
        char *Block = malloc(5000);
        if (daemon(1, 1) != 0)
            _exit(1);
        free(Block);
        Block = malloc(100);
        Byte = 'D';
        _exit(Block != NULL && write(Pipe[1], &Byte, 1) == 1 ? 0 : 1);
    }
    close(Pipe[1]);
    assert_int_equal(read(Pipe[0], &Byte, 1), 1);
    assert_int_equal(Byte, 'D');
    close(Pipe[0]);
    assert_int_equal(waitpid(Child, &Status, 0), Child);
    assert_int_equal(Status, 0);
}

/* A program's own handler for SIGSEGV is the one that runs. */
static sigjmp_buf Jump;
static void OnSegv(int Signal)
{
    siglongjmp(Jump, Signal);
}
static void OwnSegvHandler(void **State)
{
    (void)State;
    struct sigaction Action = {.sa_handler = OnSegv}, Old, Now;
    assert_int_equal(sigaction(SIGSEGV, &Action, &Old), 0);
    free(malloc(1000));
    free(malloc(10000000));
    assert_int_equal(sigaction(SIGSEGV, NULL, &Now), 0);
    assert_ptr_equal(Now.sa_handler, OnSegv);
    int Signal = sigsetjmp(Jump, 1);
    if (Signal == 0) {
        volatile char *volatile Nowhere = (volatile char *)(uintptr_t)8;
        *Nowhere = 1;
        fail();
    }
    assert_int_equal(Signal, SIGSEGV);
    free(malloc(1000));
    sigaction(SIGSEGV, &Old, NULL);
}

int main(void)
{
    assert_int_equal(pthread_atfork(HandlerBefore, HandlerAfter, HandlerAfter), 0); /* before there is any thread */
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Crowd),           cmocka_unit_test(ManyThreads), cmocka_unit_test(LateDestructors),
        cmocka_unit_test(ForkInTheMiddle), cmocka_unit_test(ForkChain),   cmocka_unit_test(Daemon),
        cmocka_unit_test(OwnSegvHandler),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
