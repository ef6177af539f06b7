/*
 * matrix.c - the detection matrix: a small program for each documented way of making a memory bug check, with the numbers it must
 * stop with, and beside it one that comes close and is right. SPDX-License-Identifier: MIT
 *
 *   matrix [ROWS REASONS [ROW]]     runs every case (or those of one row, with what the system prints) and prints every row of
 *                                    ROWS (rows.tsv):
 *       caught      as expected, all numbers that are determined
 *       caught as   likewise, by another documented code or type than the row's, which follows
 *       otherwise   the system stopped with other numbers
 *       missed      it did not stop
 *       elsewhere   caught, in the test program that is named (REASONS)
 *       n/a         not applicable here, with the reason (REASONS)
 *   Exit 1 if a case is caught otherwise or missed, a row has neither case nor reason, or a right program was accused.
 *
 * Each case runs in a child of its own with a system of its own, so that nothing it breaks reaches the next. The child says in
 * shared memory what it is about to do (Expect) and then does it; the stop comes back by ntmm_catch, or, from another thread, as
 * the first line of the block on stderr.
 */
#include <regex.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "matrix.h"

#define FILES(X) X(Pool) X(Touch) X(Mdl) X(Rules) X(Dma) X(Security) X(Image) X(Deadlock) X(Heap) X(Kin)
#define DECLARE(File)                                                                                                          \
    extern const CASE File##Cases[];                                                                                           \
    extern const size_t File##CaseCount;
FILES(DECLARE)

typedef struct SHARED {
    uint32_t Code;
    uint64_t Parameters[4];
    bool Expected, Stopped, Started, Ended;
    uint32_t StopCode;
    uint64_t StopParameters[4];
    char Words[512];
} SHARED;
static SHARED *Shared;
volatile UCHAR Sink;
unsigned long Argument;

void Expect(uint32_t Code, uint64_t P1, uint64_t P2, uint64_t P3, uint64_t P4)
{
    Shared->Code = Code;
    Shared->Parameters[0] = P1;
    Shared->Parameters[1] = P2;
    Shared->Parameters[2] = P3;
    Shared->Parameters[3] = P4;
    Shared->Expected = true;
}

/* All cases, whichever file they are in. */
static const CASE *Cases[1024];
static size_t CaseCount;
static void Collect(const CASE *Table, size_t Count)
{
    for (size_t Index = 0; Index < Count; Index++)
        Cases[CaseCount++] = &Table[Index];
}

/* ---- running ---- */
static void Call(void *Case)
{
    (*(void (*const *)(void))Case)();
}

/* In the child: a system, the case, what came of it in Shared. */
static _Noreturn void Child(const char *Text, void (*Case)(void))
{
    ntmm_options Options;
    ntmm_bugcheck Stop;
    memset(&Stop, 0, sizeof Stop);
    ntmm_default_options(&Options);
    Options.ram = 64 << 20;
    Options.cpus = 2;
    if (strstr(Text, "pagefile_size=") != NULL) /* a file of its own */
        snprintf(Options.pagefile, sizeof Options.pagefile, "/tmp/ntmm-matrix-%d", (int)getpid());
    if (ntmm_parse_options(Text, &Options) != 0 || ntmm_start(&Options) != 0) {
        fprintf(stderr, "%s\n", ntmm_error());
        _exit(3);
    }
    Shared->Started = true;
    if (ntmm_catch(Call, &Case, &Stop)) {
        Shared->StopCode = Stop.code;
        memcpy(Shared->StopParameters, Stop.parameters, sizeof Stop.parameters);
        snprintf(Shared->Words, sizeof Shared->Words, "%s", Stop.words);
        Shared->Stopped = true;
    }
    Shared->Ended = true;
    _exit(0);
}

/* Runs a case in a child; the stop of another thread is read from its stderr. */
static void Run(const char *Options, void (*Case)(void), bool Show)
{
    static char Text[1 << 16];
    size_t Used = 0;
    ssize_t Got;
    int Pipe[2], Status;
    const char *Line;
    memset(Shared, 0, sizeof *Shared);
    if (pipe(Pipe) != 0)
        exit(3);
    fflush(NULL);
    pid_t Id = fork();
    if (Id == 0) {
        alarm(60);
        dup2(Pipe[1], 2);
        close(Pipe[0]);
        close(Pipe[1]);
        Child(Options, Case);
    }
    close(Pipe[1]);
    while ((Got = read(Pipe[0], Text + Used, sizeof Text - 1 - Used)) > 0)
        Used += (size_t)Got;
    Text[Used] = 0;
    while (Used == sizeof Text - 1 && read(Pipe[0], Text, 1) > 0)
        ;
    close(Pipe[0]);
    waitpid(Id, &Status, 0);
    Line = strstr(Text, "*** STOP: ");
    if (!Shared->Stopped && Line != NULL) {
        unsigned long long N[4];
        if (sscanf(Line, "*** STOP: %x (%llx,%llx,%llx,%llx)", &Shared->StopCode, &N[0], &N[1], &N[2], &N[3]) == 5) {
            for (int I = 0; I < 4; I++)
                Shared->StopParameters[I] = N[I];
            Shared->Stopped = true;
        }
    }
    if (Show)
        printf("%s(the process's status: 0x%x)\n", Text, Status);
    if (!Shared->Started)
        fprintf(stderr, "a system did not start: %s", Text);
}

static bool AsExpected(void)
{
    bool Same = Shared->Stopped && Shared->Expected && Shared->StopCode == Shared->Code;
    for (int I = 0; I < 4; I++)
        Same &= Shared->Parameters[I] == ANY || Shared->Parameters[I] == Shared->StopParameters[I];
    return Same;
}

static void PrintNumbers(uint32_t Code, const uint64_t *Parameters)
{
    printf("0x%X (", Code);
    for (int I = 0; I < 4; I++)
        if (Parameters[I] == ANY)
            printf("any%s", I < 3 ? ", " : ")");
        else
            printf("0x%llX%s", (unsigned long long)Parameters[I], I < 3 ? ", " : ")");
}

/* ---- the table ---- */
typedef enum { Caught, CaughtAs, Otherwise, Missed, Elsewhere, NotApplicable, NoCase, VERDICTS } VERDICT;
static const char *const Verdicts[VERDICTS] = {"caught", "caught as", "OTHERWISE", "MISSED", "elsewhere", "n/a", "no case"};

static unsigned Rights, Accused;
static char *Lines[1024];
static unsigned LineCount;

static void ReadReasons(const char *Path)
{
    char Line[512];
    FILE *File = fopen(Path, "r");
    while (File != NULL && LineCount < 1024 && fgets(Line, sizeof Line, File) != NULL)
        if (Line[0] != '#' && strchr(Line, '\t') != NULL)
            Lines[LineCount++] = strdup(Line);
    if (File != NULL)
        fclose(File);
}

/* The first line whose pattern fits the row: pattern, "n/a" or "elsewhere", text. */
static VERDICT Reason(const char *Row, char *Text, size_t Size)
{
    for (unsigned I = 0; I < LineCount; I++) {
        char Pattern[384], Kind[16], Rest[400];
        regex_t Regex;
        bool Fits;
        if (sscanf(Lines[I], "%383[^\t]\t%15[^\t]\t%399[^\n]", Pattern, Kind, Rest) != 3)
            continue;
        if (regcomp(&Regex, Pattern, REG_EXTENDED | REG_NOSUB) != 0)
            continue;
        Fits = regexec(&Regex, Row, 0, NULL, 0) == 0;
        regfree(&Regex);
        if (Fits) {
            snprintf(Text, Size, "%s", Rest);
            return strcmp(Kind, "n/a") == 0 ? NotApplicable : Elsewhere;
        }
    }
    return NoCase;
}

/* Whether the stop expected is the row's: "0xCODE", "0xCODE/0xTYPE" (parameter 1; 4 of 0xC1 and 0x50). */
static bool IsTheRows(const char *Row)
{
    unsigned long long Code, Type;
    int Parts = sscanf(Row, "%llx/%llx", &Code, &Type);
    return Shared->Code == Code && (Parts < 2 || Shared->Parameters[Code == 0xC1 || Code == 0x50 ? 3 : 0] == Type);
}

/* One case and the right program beside it. Show: the system's own words too. */
static VERDICT RunCase(const CASE *Case, const char *Row, const char *When, bool Show)
{
    VERDICT Verdict;
    Argument = Case->Argument;
    Run(Case->Options, Case->Sin, Show);
    Verdict = !AsExpected() ? (Shared->Stopped ? Otherwise : Missed) : IsTheRows(Row) ? Caught : CaughtAs;
    printf("%-10s %-14s %s", Verdicts[Verdict], Row, When);
    if (Verdict == CaughtAs) {
        printf(": ");
        PrintNumbers(Shared->Code, Shared->Parameters);
    } else if (Verdict != Caught) {
        printf("\n             expected ");
        PrintNumbers(Shared->Code, Shared->Parameters);
        if (Shared->Stopped) {
            printf("\n             stopped  ");
            PrintNumbers(Shared->StopCode, Shared->StopParameters);
            printf(" %s", Shared->Words);
        }
    }
    if (Case->Right != NULL) {
        Run(Case->Options, Case->Right, false);
        Rights++;
        if (Shared->Stopped || !Shared->Started || !Shared->Ended) {
            Accused++;
            printf("\n             ACCUSED though right: ");
            PrintNumbers(Shared->StopCode, Shared->StopParameters);
            printf(" %s", Shared->Words);
        }
    }
    printf("\n");
    return Verdict;
}

static unsigned DifferentRights(void)
{
    unsigned Different = 0;
    for (size_t Index = 0; Index < CaseCount; Index++) {
        size_t Other = 0;
        while (Other < Index && Cases[Other]->Right != Cases[Index]->Right)
            Other++;
        Different += Other == Index && Cases[Index]->Right != NULL;
    }
    return Different;
}

int main(int Count, char **Arguments)
{
    unsigned Sums[VERDICTS] = {0};
    bool Seen[sizeof Cases / sizeof *Cases] = {false};
    char Line[1024];
    FILE *Rows = fopen(Count > 1 ? Arguments[1] : "rows.tsv", "r");
    Shared = mmap(NULL, sizeof *Shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (Rows == NULL || Shared == MAP_FAILED) {
        fprintf(stderr, "matrix: cannot read the rows\n");
        return 2;
    }
#define COLLECT(File) Collect(File##Cases, File##CaseCount);
    FILES(COLLECT)
    ReadReasons(Count > 2 ? Arguments[2] : "reasons.tsv");
    while (fgets(Line, sizeof Line, Rows) != NULL) {
        char *Row = strtok(Line, "\t\n"), *Name = strtok(NULL, "\t\n"), *When = strtok(NULL, "\n");
        char Text[400] = "";
        VERDICT Verdict = NoCase;
        if (Row == NULL || Name == NULL || When == NULL || (Count > 3 && strcmp(Row, Arguments[3]) != 0))
            continue;
        for (size_t Index = 0; Index < CaseCount; Index++) {
            if (strcmp(Cases[Index]->Row, Row) != 0)
                continue;
            Seen[Index] = true;
            VERDICT This = RunCase(Cases[Index], Row, When, Count > 3);
            Verdict = Verdict == NoCase || This > Verdict ? This : Verdict; /* the worst */
        }
        if (Verdict == NoCase) {
            Verdict = Reason(Row, Text, sizeof Text);
            printf("%-10s %-14s %s%s%s%s\n", Verdicts[Verdict], Row, When, *Text ? " [" : "", Text, *Text ? "]" : "");
        }
        Sums[Verdict]++;
    }
    fclose(Rows);
    for (size_t Index = 0; Index < CaseCount && Count <= 3; Index++)
        if (!Seen[Index]) {
            printf("a case for a row that does not exist: %s\n", Cases[Index]->Row);
            Sums[Missed]++;
        }
    printf("\n%u caught as expected, %u as another documented code, %u caught otherwise, %u missed, %u caught in other tests, "
           "%u not applicable, %u without a "
           "case; %u runs of right programs (%u different ones), %u accused\n",
           Sums[Caught], Sums[CaughtAs], Sums[Otherwise], Sums[Missed], Sums[Elsewhere], Sums[NotApplicable], Sums[NoCase],
           Rights, DifferentRights(), Accused);
    return Sums[Otherwise] + Sums[Missed] + Sums[NoCase] + Accused != 0;
}
