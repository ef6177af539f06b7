/*
 * campaign.c - ntmm_fail_each: every failure point of a run fails once, each in a process of its own. SPDX-License-Identifier: MIT
 *
 *   discover -> points [K1] [K2] [K3] ...          a run without a failure finds the first ones
 *   run [K2] -> new stacks K7, K8 -> [K2 K7] ...   what only then becomes reachable fails behind what led there
 *
 * A stack is queued once, by whichever run saw it first, so the queue ends. A point of depth 1 belongs to the shard that its key's
 * hash chooses; what grows out of it belongs to the same shard. Every shard discovers for itself: that is one run.
 *
 * The state file is a journal of one JSON object a line, appended when a point is found and when it is done; the last line may be
 * torn. Resuming reads it and goes on with what is not done.
 *
 *   {"campaign":1,"identity":"...","shard":"1/4"}
 *   {"point":"KEY","resource":"pool","tag":1953719636,"size":64,"where":"..."}
 *   {"discovered":true,"findings":0,"allowed":60000}
 *   {"done":"KEY","outcome":"handled","detail":""}
 *
 * Children run at most the limit's seconds (ten times as long as the run without a failure took, if that is longer: what is slow on this
 * machine, or under a checker, does not hang; that run itself may take ten times the limit), with no core dumps, standard output dropped
 * and standard error kept in memory for the line that a bug check prints. They die with their parent. A folder
 * that is drive C: is copied for each, so that no run finds what another left.
 *
 * Invariants:
 *   Y1  a key is in Known exactly if a point ends with it.
 *   Y2  a line "done" follows the line "point" of the same key.
 *   Y3  a point that was not reached is tried three times before it is reported so.
 *
 * One thread. The caller's process must not have started the system: its memory would be shared with every run.
 */
#include "campaign.h"
#include "drive.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_JOBS  64
#define MAX_TRIES 3
#define KEY_CHARS (HOST_FAIL_DEPTH * 17 + 1)
#define EXIT_BASE 32 /* a run's exit code: this plus its outcome */

typedef struct _POINT {
    ULONG64 Path[HOST_FAIL_DEPTH];
    ULONG Depth;
    ULONG Resource, Tag;
    ULONG64 Size;
    char *Where, *Detail;
    unsigned Tries;
    enum { PointWaits, PointRuns, PointDone } State;
    ntmm_fail_outcome Outcome;
    bool Resumed;
} POINT;

typedef struct _JOB {
    pid_t Pid; /* 0: free */
    int Errors;
    char Drive[64]; /* its copy of the folder that is drive C:, if there is one */
    size_t Point;
    HOST_FAIL_TABLE *Table;
    struct timespec Began;
} JOB;

typedef struct _CAMPAIGN {
    ntmm_fail_outcome (*Function)(void *);
    void *Argument;
    ntmm_fail_options Options;
    POINT *Points;
    size_t Count, Room;
    ULONG64 *Known; /* open addressing */
    size_t KnownCount, KnownRoom;
    JOB Jobs[MAX_JOBS];
    FILE *Journal;
    bool Discovered, OutOfMemory;
    long long Allowed; /* milliseconds that a run may take */
    ULONG Findings;    /* of the run without a failure */
    ntmm_fail_summary Summary;
} CAMPAIGN;

static const char *const OutcomeNames[] = {"handled", "leaked", "crashed", "hung", "wrong", "not reached"};

const char *HostFailOutcomeName(ntmm_fail_outcome Outcome)
{
    return OutcomeNames[Outcome];
}

void ntmm_default_fail_options(ntmm_fail_options *options)
{
    memset(options, 0, sizeof *options);
    options->struct_size = sizeof *options;
    options->shard = options->shards = 1;
    options->limit = 60;
}

/* ---- what is known ---- */

/* TRUE if the key was new. */
static bool Learn(CAMPAIGN *C, ULONG64 Key)
{
    if (C->KnownCount * 2 >= C->KnownRoom) {
        size_t Room = C->KnownRoom != 0 ? C->KnownRoom * 2 : 1024;
        ULONG64 *Table = calloc(Room, sizeof *Table);
        if (Table == NULL) {
            C->OutOfMemory = true;
            return false;
        }
        for (size_t Index = 0; Index < C->KnownRoom; Index++) {
            if (C->Known[Index] != 0) {
                size_t Slot = (C->Known[Index] >> 20) % Room;
                while (Table[Slot] != 0) {
                    Slot = (Slot + 1) % Room;
                }
                Table[Slot] = C->Known[Index];
            }
        }
        free(C->Known);
        C->Known = Table;
        C->KnownRoom = Room;
    }
    size_t Slot = (Key >> 20) % C->KnownRoom;
    while (C->Known[Slot] != 0) {
        if (C->Known[Slot] == Key) {
            return false;
        }
        Slot = (Slot + 1) % C->KnownRoom;
    }
    C->Known[Slot] = Key;
    C->KnownCount++;
    return true;
}

static POINT *AddPoint(CAMPAIGN *C, const ULONG64 *Path, ULONG Depth)
{
    if (C->Count == C->Room) {
        size_t Room = C->Room != 0 ? C->Room * 2 : 256;
        POINT *Points = realloc(C->Points, Room * sizeof *Points);
        if (Points == NULL) {
            C->OutOfMemory = true;
            return NULL;
        }
        C->Points = Points;
        C->Room = Room;
    }
    POINT *Point = &C->Points[C->Count++];
    memset(Point, 0, sizeof *Point);
    memcpy(Point->Path, Path, Depth * sizeof Path[0]);
    Point->Depth = Depth;
    return Point;
}

static POINT *FindPoint(CAMPAIGN *C, const ULONG64 *Path, ULONG Depth)
{
    for (size_t Index = 0; Index < C->Count; Index++) {
        if (C->Points[Index].Depth == Depth && memcmp(C->Points[Index].Path, Path, Depth * sizeof Path[0]) == 0) {
            return &C->Points[Index];
        }
    }
    return NULL;
}

static bool OfThisShard(const CAMPAIGN *C, ULONG64 Key)
{
    return ((Key >> 1) * 0x9E3779B97F4A7C15ull >> 33) % C->Options.shards == C->Options.shard - 1;
}

/* ---- the journal ---- */

static void Write(CAMPAIGN *C, json_t *Line)
{
    HOST_UNWATCHED;
    if (C->Journal != NULL && Line != NULL) {
        char *Text = json_dumps(Line, JSON_COMPACT);
        if (Text != NULL) {
            fprintf(C->Journal, "%s\n", Text);
            fflush(C->Journal);
            free(Text);
        }
    }
    json_decref(Line);
}

static void WritePoint(CAMPAIGN *C, const POINT *Point)
{
    char Key[KEY_CHARS];
    HostFailFormatKey(Point->Path, Point->Depth, Key, sizeof Key);
    Write(C, json_pack("{s:s, s:s, s:I, s:I, s:s}", "point", Key, "resource", HostFailResourceName(Point->Resource), "tag",
                       (json_int_t)Point->Tag, "size", (json_int_t)Point->Size, "where", Point->Where ? Point->Where : ""));
}

static ULONG ResourceOf(const char *Name)
{
    ULONG Resource = 0;
    while (strcmp(HostFailResourceName(Resource), "resource") != 0 && strcmp(HostFailResourceName(Resource), Name) != 0) {
        Resource++;
    }
    return Resource;
}

/* One line of the state file; false: it makes no sense. */
static bool ReadLine(CAMPAIGN *C, json_t *Line, bool First)
{
    ULONG64 Path[HOST_FAIL_DEPTH];
    ULONG Depth;
    const char *Key, *Text, *Resource = "", *Where = "", *Detail = "";
    json_int_t Tag = 0, Size = 0, Findings = 0, Allowed = 0;
    int Discovered = 0;
    if (First) {
        char Shard[32];
        snprintf(Shard, sizeof Shard, "%u/%u", C->Options.shard, C->Options.shards);
        return json_unpack(Line, "{s:s, s:s}", "identity", &Key, "shard", &Text) == 0 &&
               strcmp(Key, C->Options.identity ? C->Options.identity : "") == 0 && strcmp(Text, Shard) == 0;
    }
    if (json_unpack(Line, "{s:s, s:s, s:I, s:I, s:s}", "point", &Key, "resource", &Resource, "tag", &Tag, "size", &Size,
                    "where", &Where) == 0) {
        if (!HostFailParseKey(Key, Path, &Depth)) {
            return false;
        }
        POINT *Point = Learn(C, Path[Depth - 1]) ? AddPoint(C, Path, Depth) : NULL;
        if (Point != NULL) {
            Point->Resource = ResourceOf(Resource);
            Point->Tag = (ULONG)Tag;
            Point->Size = (ULONG64)Size;
            Point->Where = strdup(Where);
        }
        return true;
    }
    if (json_unpack(Line, "{s:s, s:s, s:s}", "done", &Key, "outcome", &Text, "detail", &Detail) == 0) {
        POINT *Point = HostFailParseKey(Key, Path, &Depth) ? FindPoint(C, Path, Depth) : NULL;
        for (unsigned Outcome = 0; Point != NULL && Outcome < ARRAYSIZE(OutcomeNames); Outcome++) {
            if (strcmp(OutcomeNames[Outcome], Text) == 0) {
                Point->Outcome = (ntmm_fail_outcome)Outcome;
                Point->State = PointDone;
                Point->Resumed = true;
                free(Point->Detail);
                Point->Detail = strdup(Detail);
                return true;
            }
        }
        return false;
    }
    if (json_unpack(Line, "{s:b, s:I, s:I}", "discovered", &Discovered, "findings", &Findings, "allowed", &Allowed) == 0) {
        C->Allowed = Allowed;
        C->Discovered = Discovered != 0;
        C->Findings = (ULONG)Findings;
        return true;
    }
    return false;
}

static int OpenJournal(CAMPAIGN *C)
{
    const char *Path = C->Options.state;
    char *Line = NULL;
    size_t Room = 0;
    unsigned Number = 0;
    long Good = 0;
    if (Path == NULL) {
        return 0;
    }
    C->Journal = fopen(Path, "a+e");
    if (C->Journal == NULL) {
        return HostFail("the state file %s cannot be opened: %s", Path, strerror(errno));
    }
    rewind(C->Journal);
    while (getline(&Line, &Room, C->Journal) > 0) {
        HOST_UNWATCHED;
        json_t *Object = json_loads(Line, 0, NULL);
        Number++;
        if (Object == NULL && strchr(Line, '\n') == NULL) {
            break; /* torn: the campaign was interrupted while it wrote */
        }
        bool Sense = Object != NULL && ReadLine(C, Object, Number == 1);
        json_decref(Object);
        if (!Sense) {
            free(Line);
            return Number == 1
                       ? HostFail("the state file %s is of another campaign (driver, requests, options or shard differ): "
                                  "remove it, or name another",
                                  Path)
                       : HostFail("the state file %s is damaged in line %u: remove it, or name another", Path, Number);
        }
        Good = ftell(C->Journal);
    }
    free(Line);
    if (ftruncate(fileno(C->Journal), Good) != 0 || fseek(C->Journal, 0, SEEK_END) != 0) {
        return HostFail("the state file %s cannot be written: %s", Path, strerror(errno));
    }
    if (Good == 0) {
        char Shard[32];
        snprintf(Shard, sizeof Shard, "%u/%u", C->Options.shard, C->Options.shards);
        Write(C, json_pack("{s:i, s:s, s:s}", "campaign", 1, "identity", C->Options.identity ? C->Options.identity : "",
                           "shard", Shard));
    }
    return 0;
}

/* ---- a run ---- */

/* Called by the function inside a run: what it found beyond what its outcome says. */
VOID HostFailSay(ULONG Findings, const char *Format, ...)
{
    HOST_FAIL_TABLE *Table = HostFailArmed();
    va_list List;
    if (Table == NULL) {
        return;
    }
    Table->Findings = Findings;
    va_start(List, Format);
    vsnprintf(Table->Detail, sizeof Table->Detail, Format, List);
    va_end(List);
}

static DECLSPEC_NORETURN VOID Child(CAMPAIGN *C, JOB *Job, pid_t Parent)
{
    struct rlimit None = {0, 0};
    int Null = open("/dev/null", O_RDWR | O_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != Parent) {
        _exit(EXIT_BASE + NTMM_FAIL_HUNG);
    }
    setrlimit(RLIMIT_CORE, &None);
    dup2(Null, STDIN_FILENO);
    dup2(Null, STDOUT_FILENO);
    dup2(Job->Errors, STDERR_FILENO);
    NtmmpDriveCopy = Job->Drive;
    if (ntmm_start(C->Options.system) != 0) {
        snprintf(Job->Table->Detail, sizeof Job->Table->Detail, "%s", ntmm_error());
        _exit(EXIT_BASE + NTMM_FAIL_WRONG);
    }
    HostFailRememberBlocks();
    HostFailArm(Job->Table);
    ntmm_fail_outcome Outcome = HostFailEnter(C->Function, C->Argument);
    HostFailNameRecords(Job->Table);
    if (Outcome == NTMM_FAIL_HANDLED && Job->Table->Findings == 0) {
        char Where[HOST_FAIL_WHERE];
        ULONG Leaks = HostFailCountLeaks(Where, sizeof Where);
        if (Leaks != 0) {
            HostFailSay(Leaks, "%u block%s not freed, the first of %s", Leaks, Leaks == 1 ? "" : "s", Where);
        }
    }
    fflush(NULL);
    _exit(EXIT_BASE + (int)Outcome);
}

static int Begin(CAMPAIGN *C, JOB *Job, const POINT *Point)
{
    pid_t Parent = getpid();
    /* Fresh pages rather than megabytes of zeroes. */
    if (madvise(Job->Table, sizeof *Job->Table, MADV_REMOVE) != 0) {
        memset(Job->Table, 0, sizeof *Job->Table);
    }
    if (Point != NULL) {
        memcpy(Job->Table->Path, Point->Path, sizeof Point->Path);
        Job->Table->Depth = Point->Depth;
    }
    Job->Table->ImagesOnly = C->Options.images_only;
    if (ftruncate(Job->Errors, 0) != 0 || lseek(Job->Errors, 0, SEEK_SET) != 0) {
        return HostFail("cannot rewind a run's error output: %s", strerror(errno));
    }
    NtmmpRemoveFolder(Job->Drive);
    fflush(NULL);
    clock_gettime(CLOCK_MONOTONIC, &Job->Began);
    pid_t Pid = fork();
    if (Pid < 0) {
        return HostFail("cannot start a process for a run: %s", strerror(errno));
    }
    if (Pid == 0) {
        Child(C, Job, Parent);
    }
    Job->Pid = Pid;
    C->Summary.runs++;
    return 0;
}

/* What a run that ended by a signal said last: the stop's first two lines. */
static void LastWords(int Errors, int Signal, char *Text, size_t Size)
{
    char Output[8192];
    ssize_t Length = pread(Errors, Output, sizeof Output - 1, 0);
    Output[Length > 0 ? Length : 0] = 0;
    char *Stop = strstr(Output, "*** STOP: "), *End = Stop != NULL ? strchr(Stop, '\n') : NULL;
    if (End == NULL) {
        snprintf(Text, Size, "the process ended by signal %d (%s)", Signal, strsignal(Signal));
        return;
    }
    *End = ' ';
    char *Second = strchr(End, '\n');
    if (Second != NULL) {
        *Second = 0;
    }
    snprintf(Text, Size, "%s", Stop + 10);
}

/* Whether somebody's own code is on the stack; names what the run could not. */
static bool IsSomebodys(HOST_FAIL_RECORD *Record)
{
    if (!Record->Named && !Record->Image) {
        HostFailNameRecord(Record);
    }
    return Record->Image || Record->Where[0] != 0;
}

static void Harvest(CAMPAIGN *C, HOST_FAIL_TABLE *Table, size_t From)
{
    ULONG64 Path[HOST_FAIL_DEPTH];
    ULONG Depth = 0, Count = Table->Count < HOST_FAIL_RECORDS ? Table->Count : HOST_FAIL_RECORDS;
    C->Summary.lost += Table->Lost;
    if (From != (size_t)-1) {
        Depth = C->Points[From].Depth;
        memcpy(Path, C->Points[From].Path, sizeof Path);
    }
    if (Depth == HOST_FAIL_DEPTH || Table->Failed < Depth) {
        return;
    }
    for (ULONG Index = 0; Index < Count; Index++) {
        HOST_FAIL_RECORD *Record = &Table->Records[Index];
        if (Record->After < Depth || Record->Key == 0 || !IsSomebodys(Record) || (Depth == 0 && !OfThisShard(C, Record->Key)) ||
            !Learn(C, Record->Key)) {
            continue;
        }
        Path[Depth] = Record->Key;
        POINT *Point = AddPoint(C, Path, Depth + 1);
        if (Point == NULL) {
            return;
        }
        Point->Resource = Record->Resource;
        Point->Tag = Record->Tag;
        Point->Size = Record->Bytes;
        Point->Where = strdup(Record->Where[0] != 0 ? Record->Where : "(not named: the run that found it crashed)");
        WritePoint(C, Point);
    }
}

static void Finish(CAMPAIGN *C, JOB *Job, int Status, bool Late)
{
    POINT *Point = &C->Points[Job->Point];
    char Detail[512] = "", Key[KEY_CHARS];
    ntmm_fail_outcome Outcome = NTMM_FAIL_CRASHED;
    Job->Pid = 0;
    if (Late) {
        Outcome = NTMM_FAIL_HUNG;
        snprintf(Detail, sizeof Detail, "did not end within %lld s", C->Allowed / 1000);
    } else if (WIFSIGNALED(Status)) {
        LastWords(Job->Errors, WTERMSIG(Status), Detail, sizeof Detail);
    } else if (WEXITSTATUS(Status) < EXIT_BASE || WEXITSTATUS(Status) > EXIT_BASE + (int)NTMM_FAIL_NOT_REACHED) {
        snprintf(Detail, sizeof Detail, "the process left with exit code %d", WEXITSTATUS(Status));
    } else {
        Outcome = (ntmm_fail_outcome)(WEXITSTATUS(Status) - EXIT_BASE);
        if (Outcome == NTMM_FAIL_HANDLED && Job->Table->Findings > C->Findings) {
            Outcome = NTMM_FAIL_LEAKED;
        }
        if (Outcome != NTMM_FAIL_HANDLED) {
            Job->Table->Detail[sizeof Job->Table->Detail - 1] = 0;
            snprintf(Detail, sizeof Detail, "%s", Job->Table->Detail);
        }
    }
    if (Job->Table->Failed < Job->Table->Depth && Outcome == NTMM_FAIL_HANDLED) {
        if (++Point->Tries < MAX_TRIES) {
            Point->State = PointWaits;
            return;
        }
        Outcome = NTMM_FAIL_NOT_REACHED;
    }
    Harvest(C, Job->Table, Job->Point);
    Point = &C->Points[Job->Point]; /* the array may have moved */
    Point->State = PointDone;
    Point->Outcome = Outcome;
    Point->Detail = strdup(Detail);
    HostFailFormatKey(Point->Path, Point->Depth, Key, sizeof Key);
    Write(C, json_pack("{s:s, s:s, s:s}", "done", Key, "outcome", OutcomeNames[Outcome], "detail", Detail));
}

/* Milliseconds since it began. */
static long long Taken(const JOB *Job)
{
    struct timespec Now;
    clock_gettime(CLOCK_MONOTONIC, &Now);
    return (Now.tv_sec - Job->Began.tv_sec) * 1000LL + (Now.tv_nsec - Job->Began.tv_nsec) / 1000000;
}

/* Has the job ended? One that takes too long is ended here. */
static bool HasEnded(const CAMPAIGN *C, const JOB *Job, int *Status, bool *Late)
{
    *Late = Taken(Job) > C->Allowed;
    if (*Late) {
        kill(Job->Pid, SIGKILL);
    }
    return waitpid(Job->Pid, Status, *Late ? 0 : WNOHANG) == Job->Pid;
}

static void Doze(void)
{
    nanosleep(&(struct timespec){0, 500000}, NULL);
}

/* Waits for one job or more to end. */
static void Reap(CAMPAIGN *C, unsigned Jobs)
{
    for (;;) {
        unsigned Ended = 0;
        for (unsigned Index = 0; Index < Jobs; Index++) {
            JOB *Job = &C->Jobs[Index];
            int Status = 0;
            bool Late;
            if (Job->Pid != 0 && HasEnded(C, Job, &Status, &Late)) {
                Finish(C, Job, Status, Late);
                Ended++;
            }
        }
        if (Ended != 0) {
            return;
        }
        Doze();
    }
}

static int Discover(CAMPAIGN *C)
{
    JOB *Job = &C->Jobs[0];
    int Status = 0;
    bool Late;
    char Words[512];
    C->Allowed = C->Options.limit * 10000LL;
    if (Begin(C, Job, NULL) != 0) {
        return -1;
    }
    while (!HasEnded(C, Job, &Status, &Late)) {
        Doze();
    }
    Job->Pid = 0;
    if (Late) {
        return HostFail("the run without a failure did not end within %lld s", C->Allowed / 1000);
    }
    if (WIFSIGNALED(Status)) {
        LastWords(Job->Errors, WTERMSIG(Status), Words, sizeof Words);
        return HostFail("the run without a failure crashed: %s", Words);
    }
    if (WEXITSTATUS(Status) != EXIT_BASE + NTMM_FAIL_HANDLED) {
        Job->Table->Detail[sizeof Job->Table->Detail - 1] = 0;
        return HostFail("the run without a failure did not end well%s%s", Job->Table->Detail[0] != 0 ? ": " : "",
                        Job->Table->Detail);
    }
    C->Allowed = Taken(Job) > C->Options.limit * 100LL ? Taken(Job) * 10 : C->Options.limit * 1000LL;
    C->Findings = Job->Table->Findings;
    Harvest(C, Job->Table, (size_t)-1);
    C->Discovered = true;
    Write(C, json_pack("{s:b, s:I, s:I}", "discovered", 1, "findings", (json_int_t)C->Findings, "allowed",
                       (json_int_t)C->Allowed));
    return 0;
}

static int RunAll(CAMPAIGN *C, unsigned Jobs)
{
    size_t Next = 0;
    for (;;) {
        unsigned Running = 0, Done = 0;
        for (unsigned Index = 0; Index < Jobs; Index++) {
            JOB *Job = &C->Jobs[Index];
            if (Job->Pid == 0) {
                for (Next = 0; Next < C->Count && C->Points[Next].State != PointWaits; Next++) {
                }
                if (Next < C->Count) {
                    Job->Point = Next;
                    C->Points[Next].State = PointRuns;
                    if (Begin(C, Job, &C->Points[Next]) != 0) {
                        return -1;
                    }
                }
            }
            Running += Job->Pid != 0;
        }
        for (size_t Index = 0; Index < C->Count; Index++) {
            Done += C->Points[Index].State == PointDone;
        }
        if (C->Options.progress != NULL) {
            C->Options.progress(Done, (unsigned)C->Count, C->Options.context);
        }
        if (C->OutOfMemory) {
            return HostFail("no memory for the campaign's points");
        }
        if (Running == 0) {
            return 0;
        }
        Reap(C, Jobs);
    }
}

static void Tell(CAMPAIGN *C)
{
    for (size_t Index = 0; Index < C->Count; Index++) {
        const POINT *Point = &C->Points[Index];
        char Key[KEY_CHARS];
        HostFailFormatKey(Point->Path, Point->Depth, Key, sizeof Key);
        ntmm_fail_point Told = {.key = Key,
                                .resource = HostFailResourceName(Point->Resource),
                                .where = Point->Where != NULL ? Point->Where : "",
                                .detail = Point->Detail != NULL ? Point->Detail : "",
                                .tag = Point->Tag,
                                .size = Point->Size,
                                .depth = Point->Depth,
                                .outcome = Point->Outcome,
                                .resumed = Point->Resumed};
        C->Summary.points++;
        C->Summary.outcomes[Point->Outcome]++;
        C->Summary.resumed += Point->Resumed;
        if (C->Options.report != NULL) {
            C->Options.report(&Told, C->Options.context);
        }
    }
}

static void Close(CAMPAIGN *C, unsigned Jobs)
{
    for (unsigned Index = 0; Index < Jobs; Index++) {
        JOB *Job = &C->Jobs[Index];
        if (Job->Pid != 0) {
            kill(Job->Pid, SIGKILL);
            waitpid(Job->Pid, NULL, 0);
        }
        if (Job->Table != NULL) {
            munmap(Job->Table, sizeof *Job->Table);
        }
        if (Job->Errors > 0) {
            close(Job->Errors);
        }
        if (Job->Drive[0] != 0) {
            NtmmpRemoveFolder(Job->Drive);
        }
    }
    for (size_t Index = 0; Index < C->Count; Index++) {
        free(C->Points[Index].Where);
        free(C->Points[Index].Detail);
    }
    free(C->Points);
    free(C->Known);
    if (C->Journal != NULL) {
        fclose(C->Journal);
    }
    free(C);
}

/* Where the copies of drive C: lie: in memory, if the host lets us. */
static const char *CopiesFolder(void)
{
    return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

/* Takes away what campaigns that were killed have left. */
static void RemoveStale(void)
{
    char Path[320];
    const struct dirent *Entry;
    DIR *Folder = opendir(CopiesFolder());
    while (Folder != NULL && (Entry = readdir(Folder)) != NULL) {
        int Owner;
        if (sscanf(Entry->d_name, "ntmm-drive-%d-", &Owner) == 1 && kill(Owner, 0) != 0 && errno == ESRCH) {
            snprintf(Path, sizeof Path, "%s/%s", CopiesFolder(), Entry->d_name);
            NtmmpRemoveFolder(Path);
        }
    }
    if (Folder != NULL) {
        closedir(Folder);
    }
}

int ntmm_fail_each(ntmm_fail_outcome (*function)(void *argument), void *argument, const ntmm_fail_options *options,
                   ntmm_fail_summary *summary)
{
    long Processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (ntmm_running()) {
        return HostFail(
            "the system runs already: ntmm_fail_each starts one in each run, so it comes before the first kernel call");
    }
    if (options != NULL && (options->shards == 0 || options->shard == 0 || options->shard > options->shards)) {
        return HostFail("shard %u of %u: a number from 1 to the number of shards is wanted", options->shard, options->shards);
    }
    CAMPAIGN *C = calloc(1, sizeof *C);
    if (C == NULL) {
        return HostFail("no memory for a campaign");
    }
    C->Function = function;
    C->Argument = argument;
    if (options != NULL) {
        C->Options = *options;
    } else {
        ntmm_default_fail_options(&C->Options);
    }
    unsigned Jobs = C->Options.jobs != 0 ? C->Options.jobs : Processors > 0 ? (unsigned)Processors : 1;
    Jobs = Jobs < MAX_JOBS ? Jobs : MAX_JOBS;
    int Result = OpenJournal(C);
    RemoveStale();
    for (unsigned Index = 0; Index < Jobs && Result == 0; Index++) {
        JOB *Job = &C->Jobs[Index];
        Job->Table = mmap(NULL, sizeof *Job->Table, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        Job->Errors = memfd_create("ntmm-run", MFD_CLOEXEC);
        snprintf(Job->Drive, sizeof Job->Drive, "%s/ntmm-drive-%d-%u", CopiesFolder(), (int)getpid(), Index);
        if (Job->Table == MAP_FAILED || Job->Errors < 0) {
            Job->Table = Job->Table == MAP_FAILED ? NULL : Job->Table;
            HostFail("no memory for the runs' tables: %s", strerror(errno));
            Result = -1;
        }
    }
    if (Result == 0 && !C->Discovered) {
        Result = Discover(C);
    }
    if (Result == 0) {
        Result = RunAll(C, Jobs);
    }
    if (Result == 0) {
        Tell(C);
        Result = C->Summary.outcomes[NTMM_FAIL_HANDLED] == C->Summary.points ? 0 : 1;
    }
    C->Summary.findings = C->Findings;
    if (summary != NULL) {
        *summary = C->Summary;
    }
    Close(C, Jobs);
    return Result;
}

int ntmm_fail_at(const char *key)
{
    static HOST_FAIL_TABLE *Table;
    ULONG64 Path[HOST_FAIL_DEPTH];
    ULONG Depth;
    if (!HostFailParseKey(key, Path, &Depth)) {
        return HostFail("\"%s\" is not a failure point's key: 16 hexadecimal digits, or several such joined by '-', are wanted",
                        key);
    }
    if (Table == NULL) {
        Table = mmap(NULL, sizeof *Table, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (Table == MAP_FAILED) {
            Table = NULL;
            return HostFail("no memory for the table of failure points");
        }
    }
    HostFailDisarm();
    memset(Table, 0, offsetof(HOST_FAIL_TABLE, Records));
    memcpy(Table->Path, Path, sizeof Path);
    Table->Depth = Depth;
    HostFailArm(Table);
    return 0;
}
