/*
 * pool_model_test.c - the pools against the model of tests/fuzz/pool_model.h, from seeds. SPDX-License-Identifier: MIT
 *
 * A second's worth by default; NTMM_POOL_SECONDS=N makes a campaign of it, NTMM_POOL_SEED=S begins elsewhere. A failure names the
 * seed and the case that repeat it: NTMM_POOL_SEED=S NTMM_POOL_CASE=C runs that case alone.
 */
#include "fuzz/pool_model.h"
#include <setjmp.h>
#include <signal.h>
#include <cmocka.h>
#include <time.h>

#define CASE_BYTES 6000

static uint64_t Seed = 1, Case;

static uint64_t Mix(uint64_t X)
{
    X = (X ^ (X >> 30)) * 0xBF58476D1CE4E5B9ull;
    X = (X ^ (X >> 27)) * 0x94D049BB133111EBull;
    return X ^ (X >> 31);
}

/* Random bytes, in phases that lean to allocating or to freeing, so that the table fills and empties. */
static void MakeCase(UCHAR *Data)
{
    uint64_t State = Mix(Seed) ^ Case * 0x9E3779B97F4A7C15ull;
    unsigned Index, Lean = 0;
    for (Index = 0; Index < CASE_BYTES; Index++) {
        uint64_t Value = Mix(State += 0x9E3779B97F4A7C15ull);
        if (Index % 700 == 0)
            Lean = (unsigned)(Value >> 40) % 3;
        Data[Index] = (UCHAR)Value;
        if (Lean != 0 && (Value >> 8 & 7) == 0)
            Data[Index] = (UCHAR)((Value & 0xF0) | (Lean == 1 ? Value >> 16 & 3 : 5 + (Value >> 16 & 3)));
    }
}

static void OnAbort(void)
{
    fprintf(stderr, "repeat it with NTMM_POOL_SEED=%llu NTMM_POOL_CASE=%llu\n", (unsigned long long)Seed,
            (unsigned long long)Case);
}

static uint64_t Number(const char *Name, uint64_t Otherwise)
{
    const char *Text = getenv(Name);
    return Text != NULL && *Text != 0 ? strtoull(Text, NULL, 0) : Otherwise;
}

static double Seconds(void)
{
    struct timespec Now;
    clock_gettime(CLOCK_MONOTONIC, &Now);
    return (double)Now.tv_sec + (double)Now.tv_nsec * 1e-9;
}

static void Model_RandomOperations_PoolsAgree(void **State)
{
    static UCHAR Data[CASE_BYTES];
    uint64_t Only = Number("NTMM_POOL_CASE", 0), Wanted = Number("NTMM_POOL_SECONDS", 0);
    double Begin = Seconds(), Said = Begin;
    (void)State;
    Seed = Number("NTMM_POOL_SEED", 1);
    StartModel(Seed);
    for (Case = Only != 0 ? Only : 1;; Case++) {
        MakeCase(Data);
        RunModel(Data, CASE_BYTES);
        if (Only != 0 || (Wanted == 0 ? Case >= (NTMM_SANITIZED ? 2u : 8u) : Seconds() - Begin >= (double)Wanted))
            break;
        if (Wanted != 0 && Seconds() - Said >= 60) {
            Said = Seconds();
            printf("%.0f s: %llu cases, %llu operations\n", Said - Begin, (unsigned long long)Case,
                   (unsigned long long)Model.Steps);
            fflush(stdout);
        }
    }
    StopModel();
    printf("seed %llu: %llu cases, %llu operations, %llu sins caught, %llu requests refused, %.1f s\n",
           (unsigned long long)Seed, (unsigned long long)Case, (unsigned long long)Model.Steps, (unsigned long long)Model.Sins,
           (unsigned long long)Model.Refused, Seconds() - Begin);
    assert_true(Model.Steps > 100);
}

static void Aborted(int Signal)
{
    (void)Signal;
    OnAbort();
    signal(SIGABRT, SIG_DFL);
    abort();
}

int main(void)
{
    const struct CMUnitTest Tests[] = {cmocka_unit_test(Model_RandomOperations_PoolsAgree)};
    signal(SIGABRT, Aborted);
    return cmocka_run_group_tests(Tests, NULL, NULL);
}
