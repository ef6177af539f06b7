/*
 * entries.c - every entry of libntmm_malloc.so: results, alignment, sizes, overflow, errno, contents, and what happens to a
 * program that misuses it. Runs on the library itself: the program is linked with it. SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool Aligned(const void *Block, size_t Alignment)
{
    return ((uintptr_t)Block & (Alignment - 1)) == 0;
}
static void Fill(unsigned char *Block, size_t Bytes, unsigned Seed)
{
    for (size_t I = 0; I < Bytes; I++)
        Block[I] = (unsigned char)(I * 7 + Seed);
}
static void Check(const unsigned char *Block, size_t Bytes, unsigned Seed)
{
    for (size_t I = 0; I < Bytes; I++)
        if (Block[I] != (unsigned char)(I * 7 + Seed))
            fail_msg("byte %zu of %zu is wrong", I, Bytes);
}

static void Sizes(void **State)
{
    static const size_t Some[] = {0,    1,    15,   16,   17,   63,   64,   65,    255,     1000,    2047,
                                  2048, 2049, 4080, 4095, 4096, 4097, 8192, 65536, 1000000, 5 << 20, 100 << 20};
    (void)State;
    errno = 7;
    for (size_t I = 0; I < sizeof Some / sizeof Some[0]; I++) {
        unsigned char *Block = malloc(Some[I]), *Other = malloc(Some[I]);
        assert_non_null(Block);
        assert_non_null(Other);
        assert_ptr_not_equal(Block, Other);
        assert_true(Aligned(Block, 16) && Aligned(Other, 16));
        assert_true(malloc_usable_size(Block) >= Some[I]);
        Fill(Block, malloc_usable_size(Block), 1);
        Fill(Other, malloc_usable_size(Other), 2);
        Check(Block, malloc_usable_size(Block), 1);
        free(Block);
        Check(Other, malloc_usable_size(Other), 2);
        free(Other);
    }
    free(NULL);
    assert_int_equal(malloc_usable_size(NULL), 0);
    assert_int_equal(errno, 7);
}

static void Zeroed(void **State)
{
    (void)State;
    for (size_t Bytes = 1; Bytes < 3 << 20; Bytes = Bytes * 3 + 1)
        for (unsigned Round = 0; Round < 3; Round++) {
            unsigned char *Block = calloc(Bytes, 1);
            assert_non_null(Block);
            for (size_t I = 0; I < Bytes; I++)
                assert_int_equal(Block[I], 0);
            memset(Block, 0xEE, Bytes); /* the next one may be the same block */
            free(Block);
        }
    void *Empty = calloc(0, 8);
    assert_non_null(Empty);
    free(Empty);
}

static void TooMuch(void **State)
{
    volatile size_t Huge = SIZE_MAX, Half = SIZE_MAX / 2 + 1;
    (void)State;
#define REFUSED(call)                                                                                                          \
    do {                                                                                                                       \
        errno = 0;                                                                                                             \
        assert_null(call);                                                                                                     \
        assert_int_equal(errno, ENOMEM);                                                                                       \
    } while (0)
    REFUSED(malloc(Huge));
    REFUSED(malloc(PTRDIFF_MAX));
    REFUSED(malloc((size_t)1 << 45)); /* not refused by its size alone: the region says no */
    REFUSED(calloc(Half, 2));
    REFUSED(calloc(Huge, 1));
    REFUSED(aligned_alloc(64, Huge));
    REFUSED(memalign(1 << 20, Huge - 100));
    REFUSED(valloc(Huge));
    REFUSED(pvalloc(Huge));
    REFUSED(realloc(NULL, Huge));
    unsigned char *Block = malloc(100), *volatile Same = Block;
    Fill(Block, 100, 3);
    REFUSED(realloc(Same, Huge));
    REFUSED(reallocarray(Same, Half, 2));
    REFUSED(reallocarray(Same, Huge / 2, 2));
    Check(Same, 100, 3); /* the old block is untouched */
    free(Same);
    void *Result = &Result;
    errno = 5;
    assert_int_equal(posix_memalign(&Result, 64, Huge), ENOMEM);
    assert_ptr_equal(Result, &Result);
    assert_int_equal(errno, 5);
}

static void Reallocated(void **State)
{
    (void)State;
    unsigned char *Block = realloc(NULL, 10);
    size_t Old = 10;
    Fill(Block, Old, 4);
    for (unsigned Step = 0; Step < 400; Step++) {
        size_t New = Step % 5 == 4 ? Old / 2 + 1 : Old + Old / 6 + 3;
        if (New > 3 << 20)
            New = 33;
        Block = realloc(Block, New);
        assert_non_null(Block);
        assert_true(Aligned(Block, 16));
        assert_true(malloc_usable_size(Block) >= New);
        Check(Block, Old < New ? Old : New, 4);
        Fill(Block, New, 4);
        Old = New;
    }
    assert_null(realloc(Block, 0)); /* glibc's way: freed */
    Block = reallocarray(NULL, 10, 10);
    assert_true(malloc_usable_size(Block) >= 100);
    Block = reallocarray(Block, 100, 100);
    assert_true(malloc_usable_size(Block) >= 10000);
    free(Block);
}

static void Alignments(void **State)
{
    enum { Each = 3 };
    static const size_t Sizes[Each] = {1, 200, 70000};
    void *Blocks[24][Each];
    (void)State;
    for (unsigned Log = 0; Log < 24; Log++)
        for (unsigned S = 0; S < Each; S++) {
            size_t Alignment = (size_t)1 << Log;
            unsigned char *Block = Log % 2 ? aligned_alloc(Alignment, Sizes[S]) : memalign(Alignment, Sizes[S]);
            assert_non_null(Block);
            assert_true(Aligned(Block, Alignment));
            assert_true(malloc_usable_size(Block) >= Sizes[S]);
            Fill(Block, malloc_usable_size(Block), Log + S);
            Blocks[Log][S] = Block;
        }
    for (unsigned Log = 0; Log < 24; Log++)
        for (unsigned S = 0; S < Each; S++) {
            Check(Blocks[Log][S], malloc_usable_size(Blocks[Log][S]), Log + S);
            Blocks[Log][S] = realloc(Blocks[Log][S], 2 * Sizes[S]);
            Check(Blocks[Log][S], Sizes[S], Log + S);
        }
    for (unsigned Log = 0; Log < 24; Log++)
        for (unsigned S = 0; S < Each; S++)
            free(Blocks[Log][S]);
    volatile size_t Odd = 48, None = 0, Over = SIZE_MAX / 2 + 2;
    void *Block = memalign(Odd, 10); /* rounded up to a power of two */
    assert_true(Aligned(Block, 64));
    free(Block);
    errno = 0;
    assert_null(aligned_alloc(Odd, 96));
    assert_int_equal(errno, EINVAL);
    errno = 0;
    assert_null(aligned_alloc(None, 96));
    assert_int_equal(errno, EINVAL);
    errno = 0;
    assert_null(memalign(Over, 1));
    assert_int_equal(errno, EINVAL);
    Block = valloc(10);
    assert_true(Aligned(Block, 4096));
    free(Block);
    Block = pvalloc(4097);
    assert_true(Aligned(Block, 4096) && malloc_usable_size(Block) >= 8192);
    free(Block);
}

static void PosixMemalign(void **State)
{
    void *Result = NULL;
    (void)State;
    errno = 9;
    assert_int_equal(posix_memalign(&Result, 4, 10), EINVAL); /* not a multiple of a pointer's size */
    assert_int_equal(posix_memalign(&Result, 24, 10), EINVAL);
    assert_int_equal(posix_memalign(&Result, 0, 10), EINVAL);
    assert_null(Result);
    for (size_t Alignment = 8; Alignment <= 1 << 22; Alignment *= 2) {
        assert_int_equal(posix_memalign(&Result, Alignment, 100), 0);
        assert_true(Aligned(Result, Alignment));
        memset(Result, 1, 100);
        free(Result);
    }
    assert_int_equal(errno, 9);
}

/* Many blocks of large alignment at once, freed in another order: the table of aligned addresses grows and is tidied. */
static void ManyAligned(void **State)
{
    static void *Blocks[3000];
    (void)State;
    for (unsigned Round = 0; Round < 3; Round++) {
        for (unsigned I = 0; I < 3000; I++) {
            Blocks[I] = memalign(8192, I % 600 + 8);
            assert_non_null(Blocks[I]);
            assert_true(Aligned(Blocks[I], 8192));
            *(unsigned *)Blocks[I] = I;
        }
        for (unsigned I = 0; I < 3000; I++) {
            unsigned At = I * 1999 % 3000;
            assert_int_equal(*(unsigned *)Blocks[At], At);
            free(Blocks[At]);
        }
    }
}

static void SmallResizeInPlace(void **State)
{
    (void)State;
    char *Block = malloc(100000);
    memset(Block, 1, 100000);
    for (unsigned I = 0; I < 100; I++) {
        char *Same = realloc(Block, 100000 - I);
        assert_non_null(Same);
        Block = Same;
    }
    assert_int_equal(malloc_usable_size(Block), 100000 - 99);
    free(Block);
}

/* What the pools find in a program: the first line of the stop, and abort(). */
static void DoubleFree(void)
{
    void *Block = malloc(100), *volatile Again = Block;
    free(Block);
    free(Again);
}
static void Overrun(void)
{
    char *Block = malloc(100), *volatile Same = Block;
    Same[100] = 'x';
    free(Block);
}
/* Blocks of many sizes that grow and shrink a little where they lie, or move: the bytes stay, and what lies behind them is watched anew. */
static void OverrunOfGrown(void)
{
    char *Block = realloc(malloc(99), 101), *volatile Same = Block;
    Same[101] = 'x';
    free(Block);
}
static void OverrunThenGrown(void)
{
    char *Block = malloc(97), *volatile Same = Block;
    Same[97] = 'x';
    free(realloc(Block, 98));
}
static void GrownAfterFree(void)
{
    void *Block = malloc(100), *volatile Again = Block;
    free(Block);
    free(realloc(Again, 101));
}
static void GrownInside(void)
{
    char *Block = malloc(100);
    free(realloc(Block + 16, 101));
}
static void ResizedBySteps(void **State)
{
    (void)State;
    for (size_t Size = 1; Size <= 5000; Size += Size < 400 ? 1 : 37) {
        unsigned char *Block = malloc(Size);
        size_t Now = Size;
        Fill(Block, Size, (unsigned)Size);
        for (unsigned Step = 0; Step < 8; Step++) {
            size_t Next = Step % 3 == 2 ? Now - Now / 9 - (Now > 1) : Now + 1 + Step * 2;
            Block = realloc(Block, Next);
            assert_non_null(Block);
            assert_int_equal(malloc_usable_size(Block), Next);
            Check(Block, Now < Next ? Now : Next, (unsigned)Size);
            Fill(Block, Next, (unsigned)Size);
            Now = Next;
        }
        free(Block);
    }
}
static void Inside(void)
{
    char *Block = malloc(100);
    free(Block + 16);
}
static void Foreign(void)
{
    static char Bytes[64];
    char *volatile Block = Bytes;
    free(Block + 16);
}
static void Stops(void **State)
{
    static const struct {
        void (*Do)(void);
        const char *Line;
    } Cases[] = {{DoubleFree, "*** STOP: 0x000000C2 (0x0000000000000007,"},
                 {Overrun, "*** STOP: 0x00000019 (0x0000000000000021,"},
                 {OverrunOfGrown, "*** STOP: 0x00000019 (0x0000000000000021,"},
                 {OverrunThenGrown, "*** STOP: 0x00000019 (0x0000000000000021,"},
                 {GrownAfterFree, "*** STOP: 0x000000C2 (0x0000000000000007,"},
                 {GrownInside, "*** STOP: 0x000000C2 (0x0000000000000046,"},
                 {Inside, "*** STOP: 0x000000C2 ("},
                 {Foreign, "*** STOP: 0x000000C2 ("}};
    (void)State;
    for (size_t I = 0; I < sizeof Cases / sizeof Cases[0]; I++) {
        int Pipe[2], Status;
        char Text[1024] = "";
        assert_int_equal(pipe(Pipe), 0);
        pid_t Child = fork();
        if (Child == 0) {
            signal(SIGABRT, SIG_DFL);
            dup2(Pipe[1], 2);
            Cases[I].Do();
            _exit(0);
        }
        close(Pipe[1]);
        for (size_t Used = 0; Used < sizeof Text - 1;) {
            ssize_t Got = read(Pipe[0], Text + Used, sizeof Text - 1 - Used);
            if (Got <= 0)
                break;
            Used += (size_t)Got;
        }
        close(Pipe[0]);
        assert_int_equal(waitpid(Child, &Status, 0), Child);
        assert_true(WIFSIGNALED(Status) && WTERMSIG(Status) == SIGABRT);
        if (strncmp(Text, Cases[I].Line, strlen(Cases[I].Line)) != 0)
            fail_msg("case %zu says: %s", I, Text);
    }
}

/* The options are read, and a bad one is named. */
static void Options(void **State)
{
    static const struct {
        const char *Options;
        int Signal;
        const char *Say;
    } Cases[] = {{"ram=64M,seed=3", 0, ""},
                 {"verifier=none,seed=3", 0, ""},
                 {"verifier=standard", SIGABRT, "verifier=standard"},
                 {"ram=64", SIGABRT, "ram="},
                 {"ram=64M;", SIGABRT, "ram="},
                 {"size=4", SIGABRT, "size=4"},
                 {"seed=99999999999999999999", SIGABRT, "seed="}};
    (void)State;
    for (size_t I = 0; I < sizeof Cases / sizeof Cases[0]; I++) {
        int Pipe[2], Status;
        char Text[1024] = "";
        assert_int_equal(pipe(Pipe), 0);
        pid_t Child = fork();
        if (Child == 0) {
            signal(SIGABRT, SIG_DFL);
            dup2(Pipe[1], 2);
            dup2(open("/dev/null", O_WRONLY), 1);
            setenv("NTMM_MALLOC_OPTIONS", Cases[I].Options, 1);
            setenv("LD_PRELOAD", NTMM_MALLOC, 1);
            execl("/bin/ls", "ls", "/", (char *)NULL);
            _exit(1);
        }
        close(Pipe[1]);
        (void)!read(Pipe[0], Text, sizeof Text - 1);
        close(Pipe[0]);
        assert_int_equal(waitpid(Child, &Status, 0), Child);
        assert_int_equal(WIFSIGNALED(Status) ? WTERMSIG(Status) : WEXITSTATUS(Status), Cases[I].Signal);
        assert_non_null(strstr(Text, Cases[I].Say));
    }
}

int main(void)
{
    const struct CMUnitTest Tests[] = {
        cmocka_unit_test(Sizes),
        cmocka_unit_test(Zeroed),
        cmocka_unit_test(TooMuch),
        cmocka_unit_test(Reallocated),
        cmocka_unit_test(ResizedBySteps),
        cmocka_unit_test(Alignments),
        cmocka_unit_test(PosixMemalign),
        cmocka_unit_test(ManyAligned),
        cmocka_unit_test(Stops),
        cmocka_unit_test(Options),
        cmocka_unit_test(SmallResizeInPlace),
    };
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
