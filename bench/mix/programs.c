/*
 * programs.c - workloads that compute something, with the allocations that such programs make. SPDX-License-Identifier: MIT
 *
 *   cfrac      factors numbers by Pollard's method over numbers that live on the heap: every operation allocates its
 *              result (12 to 24 bytes) and frees its operands, as arithmetic packages with reference counts do; a table of
 *              old values stays live for a while
 *   espresso   asks whether random sums of products are tautologies by Shannon expansion: covers (arrays that grow) of
 *              cubes (16 to 40 bytes) are made and dropped at each level, as logic minimisers do
 * Both check their results, so an allocator that mixes blocks up is found here.
 */
#include "mix.h"

/* ---- cfrac ---- */
typedef struct number {
    unsigned References, Limbs;
    uint32_t Limb[];
} number;
typedef unsigned __int128 wide;

static number *NumOf(wide Value)
{
    unsigned Limbs = 0;
    for (wide V = Value; V; V >>= 32)
        Limbs++;
    number *N = mix_check(mix_alloc(sizeof(number) + (Limbs ? Limbs : 1) * sizeof(uint32_t)));
    N->References = 1;
    N->Limbs = Limbs;
    for (unsigned I = 0; I < Limbs; I++, Value >>= 32)
        N->Limb[I] = (uint32_t)Value;
    return N;
}
static wide NumValue(const number *N)
{
    wide Value = 0;
    for (unsigned I = N->Limbs; I-- > 0;)
        Value = Value << 32 | N->Limb[I];
    return Value;
}
static number *NumShare(number *N)
{
    N->References++;
    return N;
}
static void NumDrop(number *N)
{
    if (--N->References == 0)
        mix_free(N);
}
/* Each takes its operands over. */
static number *NumMul(number *A, number *B)
{
    number *R = NumOf(NumValue(A) * NumValue(B));
    NumDrop(A);
    NumDrop(B);
    return R;
}
static number *NumAdd(number *A, number *B)
{
    number *R = NumOf(NumValue(A) + NumValue(B));
    NumDrop(A);
    NumDrop(B);
    return R;
}
static number *NumMod(number *A, number *M)
{
    uint64_t Modulus = (uint64_t)NumValue(M);
    wide Value = NumValue(A);
    /* both fit 62 bits and the quotient may not: two steps */
    uint64_t Quotient = (uint64_t)Value, Rest = (uint64_t)(Value >> 64) % Modulus;
    __asm__("divq %2" : "+a"(Quotient), "+d"(Rest) : "r"(Modulus) : "cc");
    number *R = NumOf(Rest);
    NumDrop(A);
    NumDrop(M);
    return R;
}
static number *NumDifference(number *A, number *B)
{
    wide X = NumValue(A), Y = NumValue(B);
    number *R = NumOf(X > Y ? X - Y : Y - X);
    NumDrop(A);
    NumDrop(B);
    return R;
}
static uint64_t Gcd(uint64_t A, uint64_t B)
{
    while (B) {
        uint64_t T = A % B;
        A = B;
        B = T;
    }
    return A;
}

#define CFRAC_TABLE 2000
static const uint32_t CfracPrimes[] = {2147483647u, 1073741789u, 536870909u, 268435399u, 134217689u, 67108859u, 33554393u};
static uint64_t CfracSteps;
static volatile uint64_t CfracOps;
static number *CfracNext(number *X, number *C, number *N)
{
    return NumMod(NumAdd(NumMul(NumShare(X), X), NumShare(C)), NumShare(N));
}
static void CfracBody(unsigned Index)
{
    number **Table = mix_memory(CFRAC_TABLE * sizeof(number *));
    uint64_t Steps = 0, Ops = 0;
    for (unsigned Try = 0; Steps < CfracSteps; Try++) {
        uint64_t P = CfracPrimes[(Try + Index) % 5], Q = CfracPrimes[2 + (Try + Index) % 5];
        if (P == Q)
            continue;
        number *N = NumOf((wide)P * Q), *C = NumOf(1 + Try % 7), *X = NumOf(2), *Y = NumOf(2), *Product = NumOf(1);
        uint64_t Factor = 1;
        for (unsigned Round = 0; Factor == 1 && Steps < CfracSteps; Round++, Steps++) {
            X = CfracNext(X, C, N);
            Y = CfracNext(CfracNext(Y, C, N), C, N);
            Product = NumMod(NumMul(Product, NumDifference(NumShare(X), NumShare(Y))), NumShare(N));
            Ops += 14;
            unsigned Slot = (unsigned)(Steps % CFRAC_TABLE);
            if (Table[Slot] != NULL)
                NumDrop(Table[Slot]);
            Table[Slot] = NumShare(Y);
            if (Round % 64 == 63)
                Factor = Gcd((uint64_t)NumValue(Product), (uint64_t)NumValue(N));
        }
        if (Factor != 1 && (uint64_t)NumValue(N) % Factor != 0)
            abort();
        NumDrop(N);
        NumDrop(C);
        NumDrop(X);
        NumDrop(Y);
        NumDrop(Product);
    }
    for (unsigned I = 0; I < CFRAC_TABLE; I++)
        if (Table[I] != NULL)
            NumDrop(Table[I]);
    __atomic_add_fetch(&CfracOps, Ops, __ATOMIC_RELAXED);
    mix_memory_free(Table, CFRAC_TABLE * sizeof(number *));
}
static mix_result Cfrac(unsigned Threads)
{
    CfracSteps = mix_scaled(800000);
    CfracOps = 0;
    double Time = mix_parallel(Threads, CfracBody);
    return (mix_result){CfracOps, Time};
}

/* ---- espresso ---- */
#define VARS 24
typedef struct cube {
    uint32_t Words;
    uint32_t Bits[]; /* two bits a variable: may be 0, may be 1 */
} cube;
typedef struct cover {
    unsigned Count, Room;
    cube **Cubes;
} cover;
static uint64_t EsTries;
static volatile uint64_t EsOps;
static _Thread_local uint64_t EsCount;

static cube *CubeNew(unsigned Pad)
{
    unsigned Words = (VARS + 15) / 16 + Pad;
    cube *C = mix_check(mix_alloc(sizeof(cube) + Words * sizeof(uint32_t)));
    C->Words = Words;
    memset(C->Bits, 0xFF, Words * sizeof(uint32_t));
    EsCount++;
    return C;
}
static unsigned CubeGet(const cube *C, unsigned Var)
{
    return C->Bits[Var / 16] >> (Var % 16 * 2) & 3;
}
static void CubeSet(cube *C, unsigned Var, unsigned Value)
{
    C->Bits[Var / 16] = (C->Bits[Var / 16] & ~(3u << (Var % 16 * 2))) | Value << (Var % 16 * 2);
}
static cover *CoverNew(void)
{
    cover *F = mix_check(mix_alloc(sizeof(cover)));
    *F = (cover){0, 4, mix_check(mix_alloc(4 * sizeof(cube *)))};
    EsCount += 2;
    return F;
}
static void CoverAdd(cover *F, cube *C)
{
    if (F->Count == F->Room) {
        F->Cubes = mix_check(mix_realloc(F->Cubes, F->Room * sizeof(cube *), 2 * F->Room * sizeof(cube *)));
        F->Room *= 2;
        EsCount++;
    }
    F->Cubes[F->Count++] = C;
}
static void CoverDrop(cover *F)
{
    for (unsigned I = 0; I < F->Count; I++)
        mix_free(F->Cubes[I]);
    mix_free(F->Cubes);
    mix_free(F);
}
static cover *Cofactor(const cover *F, unsigned Var, unsigned Value)
{
    cover *R = CoverNew();
    for (unsigned I = 0; I < F->Count; I++)
        if (CubeGet(F->Cubes[I], Var) & Value) {
            cube *C = CubeNew(F->Cubes[I]->Words - (VARS + 15) / 16);
            memcpy(C->Bits, F->Cubes[I]->Bits, C->Words * sizeof(uint32_t));
            CubeSet(C, Var, 3);
            CoverAdd(R, C);
        }
    return R;
}
static bool Tautology(const cover *F, unsigned Var)
{
    if (F->Count == 0)
        return false;
    for (unsigned I = 0; I < F->Count; I++) {
        bool All = true;
        for (unsigned W = 0; W < F->Cubes[I]->Words && All; W++)
            All = F->Cubes[I]->Bits[W] == 0xFFFFFFFFu;
        if (All)
            return true;
    }
    bool Low = false, High = false;
    for (; Var < VARS; Var++) {
        for (unsigned I = 0; I < F->Count; I++) {
            Low |= CubeGet(F->Cubes[I], Var) == 1;
            High |= CubeGet(F->Cubes[I], Var) == 2;
        }
        if (Low || High)
            break;
    }
    if (Var == VARS)
        return false;
    cover *Zero = Cofactor(F, Var, 1);
    bool Result = Tautology(Zero, Var + 1);
    CoverDrop(Zero);
    if (Result) {
        cover *One = Cofactor(F, Var, 2);
        Result = Tautology(One, Var + 1);
        CoverDrop(One);
    }
    return Result;
}
static void EspressoBody(unsigned Index)
{
    mix_random Random = mix_seed(Index + 29);
    EsCount = 0;
    for (uint64_t Try = 0; Try < EsTries; Try++) {
        cover *F = CoverNew();
        unsigned Pad = mix_below(&Random, 6), Live = 8 + mix_below(&Random, 3);
        /* every assignment of Live variables, some merged: a tautology, unless one is left out */
        bool Hole = Try & 1;
        for (unsigned Row = 0; Row < 1u << Live; Row++) {
            if (Hole && Row == (1u << Live) - 1)
                continue;
            cube *C = CubeNew(Pad);
            for (unsigned V = 0; V < Live; V++)
                CubeSet(C, V * 2, Row >> V & 1 ? 2 : 1);
            if (!Hole && mix_below(&Random, 4) == 0)
                CubeSet(C, mix_below(&Random, Live) * 2, 3);
            CoverAdd(F, C);
        }
        if (Tautology(F, 0) == Hole)
            abort();
        CoverDrop(F);
    }
    __atomic_add_fetch(&EsOps, EsCount, __ATOMIC_RELAXED);
}
static mix_result Espresso(unsigned Threads)
{
    EsTries = mix_scaled(1000);
    EsOps = 0;
    double Time = mix_parallel(Threads, EspressoBody);
    return (mix_result){EsOps, Time};
}

const mix_workload MixPrograms[] = {
    {"cfrac", "factoring over heap numbers of 12-24 bytes", Cfrac, true},
    {"espresso", "tautology of covers: cubes of 16-40 bytes, arrays that grow", Espresso, true},
    {NULL, NULL, NULL, false},
};
