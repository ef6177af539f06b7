/*
 * run.c - `ntmm run`: a driver from its file to its report. SPDX-License-Identifier: MIT
 *
 * Two processes. The parent takes the arguments (runargs.c), shows progress on a terminal, and turns the child's end into an
 * exit code. The child starts the system, loads, runs and reports; a bug check on the thread that runs the driver is caught and
 * becomes part of the report, one on another thread prints its block and ends the child, and whatever a wild driver does
 * to its process leaves the parent able to say so.
 *
 * The session has a thread of the system for itself, on a kernel stack: so the driver's stack is simulated memory, with frames
 * behind it, as on Windows, and its local variables can be locked in an MDL. The thread is there before the report's baseline is
 * taken and until the report is made, so nothing of its own shows in the numbers.
 *
 * The requests come from a process of their own, which begins with the first of them and ends when the file is closed, as a program
 * would: user mappings go with it, and pages of it that the driver has still locked are bug check 0x76.
 *
 *   parent: parse -> fork -> wait (progress)  ------------------------------------> exit code
 *   child:          start -> load -> [DriverEntry -> open -> requests -> close -> DriverUnload] -> report -> stop
 *                                    `---- on its thread, inside KiCatch ------------'
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "run.h"
#include "io/iop.h"
#include "ps/psp.h"
#include "vf/vf.h"

#define DUMP_BYTES 256

/* ---- progress and text ---- */

static void Stage(RUN *Run, const char *Format, ...) __attribute__((format(printf, 2, 3)));
static void Stage(RUN *Run, const char *Format, ...)
{
    va_list Arguments;
    va_start(Arguments, Format);
    vsnprintf(Run->Progress->Stage, sizeof(Run->Progress->Stage), Format, Arguments);
    va_end(Arguments);
}

/* Text of the report: nothing in JSON mode; a progress line on the terminal is wiped first. */
static void Say(RUN *Run, const char *Format, ...) __attribute__((format(printf, 2, 3)));
static void Say(RUN *Run, const char *Format, ...)
{
    va_list Arguments;
    if (Run->Json) {
        return;
    }
    if (Run->Progress->Shown) {
        fputs("\r\033[K", stderr);
        Run->Progress->Shown = 0;
    }
    va_start(Arguments, Format);
    vprintf(Format, Arguments);
    va_end(Arguments);
    fflush(stdout);
}

/* What begins; a stop is told to have come in it. */
static void Begin(RUN *Run, const char *Format, ...) __attribute__((format(printf, 2, 3)));
static void Begin(RUN *Run, const char *Format, ...)
{
    va_list Arguments;
    va_start(Arguments, Format);
    vsnprintf(Run->Doing, sizeof(Run->Doing), Format, Arguments);
    va_end(Arguments);
}

static double Milliseconds(const struct timespec *From)
{
    struct timespec Now;
    clock_gettime(CLOCK_MONOTONIC, &Now);
    return (double)(Now.tv_sec - From->tv_sec) * 1e3 + (double)(Now.tv_nsec - From->tv_nsec) / 1e6;
}

/* Sixteen bytes a line; lines like the one before become a star. */
static void Dump(RUN *Run, const unsigned char *Bytes, size_t Length)
{
    size_t Shown = Length < DUMP_BYTES ? Length : DUMP_BYTES;
    bool Star = false;
    for (size_t At = 0; At < Shown; At += 16) {
        char Hex[64], Text[17];
        size_t Put = 0;
        if (At != 0 && At + 16 < Shown && memcmp(Bytes + At, Bytes + At - 16, 16) == 0) {
            if (!Star) {
                Say(Run, "    *\n");
            }
            Star = true;
            continue;
        }
        Star = false;
        for (size_t Index = 0; Index < 16; Index++) {
            bool There = At + Index < Length;
            Put += (size_t)snprintf(Hex + Put, sizeof(Hex) - Put, There ? "%02x " : "   ", There ? Bytes[At + Index] : 0);
            Text[Index] = !There ? 0 : Bytes[At + Index] >= ' ' && Bytes[At + Index] <= '~' ? (char)Bytes[At + Index] : '.';
        }
        Text[16] = 0;
        Say(Run, "    %04zx  %s %s\n", At, Hex, Text);
    }
    if (Length > DUMP_BYTES) {
        Say(Run, "    ... %zu more bytes\n", Length - DUMP_BYTES);
    }
}

static json_t *HexString(const unsigned char *Bytes, size_t Length)
{
    char *Text = malloc(Length * 2 + 1);
    if (Text == NULL) {
        return json_null();
    }
    for (size_t Index = 0; Index < Length; Index++) {
        snprintf(Text + Index * 2, 3, "%02x", Bytes[Index]);
    }
    Text[Length * 2] = 0;
    json_t *Value = json_string(Text);
    free(Text);
    return Value;
}

/* ---- the device ---- */

static void ToWide(const char *Text, WCHAR *Buffer, UNICODE_STRING *Name)
{
    USHORT Length = 0;
    while (Text[Length] != 0 && Length < 255) {
        Buffer[Length] = (UCHAR)Text[Length];
        Length++;
    }
    Name->Buffer = Buffer;
    Name->Length = (USHORT)(Length * sizeof(WCHAR));
    Name->MaximumLength = Name->Length;
}

/* "\Device\Name" of a named object, from its place in the directories; empty: it has no name. */
static void ObjectPath(PVOID Object, char *Path, size_t Size)
{
    char Parts[512];
    size_t At = sizeof(Parts) - 1;
    Parts[At] = 0;
    for (POB_HEADER Header = ObpHeader(Object); Header != NULL && Header->Directory != NULL; Header = Header->Directory) {
        size_t Length = Header->Name.Length / sizeof(WCHAR);
        if (Length + 1 > At) {
            break;
        }
        for (size_t Index = Length; Index > 0; Index--) {
            WCHAR Letter = Header->Name.Buffer[Index - 1];
            Parts[--At] = Letter >= ' ' && Letter <= '~' ? (char)Letter : '?';
        }
        Parts[--At] = '\\';
    }
    snprintf(Path, Size, "%s", Parts + At);
}

/* The name to open: the one asked for, or that of the driver's first device that has one. */
static bool DeviceName(RUN *Run, char *Name, size_t Size)
{
    if (Run->Device != NULL) {
        if (strncmp(Run->Device, "\\\\.\\", 4) == 0) {
            snprintf(Name, Size, "\\??\\%s", Run->Device + 4);
        } else {
            snprintf(Name, Size, "%s%s", Run->Device[0] == '\\' ? "" : "\\??\\", Run->Device);
        }
        return true;
    }
    PDRIVER_OBJECT Driver = Run->Image->DriverObject;
    Name[0] = 0;
    for (PDEVICE_OBJECT Device = Driver->DeviceObject; Device != NULL; Device = Device->NextDevice) {
        char Path[256];
        ObjectPath(Device, Path, sizeof(Path));
        if (Path[0] != 0) {
            snprintf(Name, Size, "%s", Path); /* the list has the newest first: the last one stays */
        }
    }
    return Name[0] != 0;
}

/* ---- the session, inside KiCatch ---- */

static void Request(RUN *Run, PFILE_OBJECT File, const STEP *Step, unsigned Number)
{
    unsigned char *Out = calloc(1, (size_t)Step->Out + 1);
    ULONG_PTR Information = 0;
    NTSTATUS Status = STATUS_NO_MEMORY;
    char Text[64], Title[64];
    struct timespec From;
    static const char *const Methods[] = {"buffered", "in direct", "out direct", "neither"};
    if (Out == NULL) {
        Say(Run, "no memory for %u bytes of output\n", Step->Out);
        Run->Findings++;
        return;
    }
    if (Step->Kind == StepControl) {
        snprintf(Title, sizeof(Title), "ioctl 0x%08x (%s)", Step->Code, Methods[Step->Code & 3]);
    } else {
        snprintf(Title, sizeof(Title), "%s %u bytes at %lld", Step->Kind == StepRead ? "read" : "write",
                 Step->Kind == StepRead ? Step->Out : Step->InBytes, (long long)Step->Offset);
    }
    Stage(Run, "%s, request %u of %u", Title, Number, Run->StepCount);
    Begin(Run, "%s", Title);
    clock_gettime(CLOCK_MONOTONIC, &From);
    for (uint32_t Round = 0; Round < Step->Repeat; Round++) {
        if (Round % 1024 == 1023) {
            Stage(Run, "%s, request %u of %u, round %u of %u", Title, Number, Run->StepCount, Round + 1, Step->Repeat);
        }
        switch (Step->Kind) {
        case StepControl:
            Status = IopDeviceControlUser(File, FALSE, Step->Code, Step->In, Step->InBytes, Out, Step->Out, Run->Timeout,
                                          &Information);
            break;
        case StepRead:
            Status = IopReadUser(File, Out, Step->Out, Step->Offset, Run->Timeout, &Information);
            break;
        case StepWrite:
            Status = IopWriteUser(File, Step->In, Step->InBytes, Step->Offset, Run->Timeout, &Information);
            break;
        }
    }
    double Elapsed = Milliseconds(&From);
    size_t Length = Information < Step->Out ? (size_t)Information : Step->Out;
    Say(Run, "%-36s %s, information %llu, %.2f ms%s\n", Title, CmdStatus(Status, Text), (unsigned long long)Information,
        Elapsed, Step->Repeat > 1 ? " in all" : "");
    if (Status == STATUS_IO_TIMEOUT) {
        Say(Run, "    it did not come back within %u ms, nor when cancelled\n", Run->Timeout);
        Run->Abandoned = true;
        Run->Findings++;
    }
    Dump(Run, Out, Length);
    json_t *Entry = json_pack("{s:s, s:o, s:I, s:f, s:o}", "request", Title, "status", CmdHex((uint32_t)Status), "information",
                              (json_int_t)Information, "milliseconds", Elapsed, "output", HexString(Out, Length));
    json_array_append_new(Run->Requests, Entry);
    free(Out);
}

static void Requests(RUN *Run)
{
    char Name[256], Text[64];
    WCHAR Wide[256];
    UNICODE_STRING Path;
    PFILE_OBJECT File = NULL;
    if (!DeviceName(Run, Name, sizeof(Name))) {
        if (Run->StepCount != 0) {
            Say(Run, "The driver made no device with a name: nothing to send the requests to (--device names "
                     "one).\n");
            json_object_set_new(Run->Root, "error", json_string("the driver made no device with a name"));
            Run->Findings += !Run->Simulating;
        }
        return;
    }
    if (Run->StepCount == 0 && Run->Device == NULL) {
        return;
    }
    ToWide(Name, Wide, &Path);
    Stage(Run, "opening %s", Name);
    Begin(Run, "open  %s", Name);
    NTSTATUS Status = IopOpenUser(&Path, FILE_READ_DATA | FILE_WRITE_DATA | SYNCHRONIZE, &File);
    Say(Run, "open  %-30s %s\n", Name, CmdStatus(Status, Text));
    json_object_set_new(Run->Root, "device", json_string(Name));
    json_object_set_new(Run->Root, "open_status", CmdHex((uint32_t)Status));
    if (!NT_SUCCESS(Status)) {
        Run->Findings += !Run->Simulating;
        return;
    }
    for (unsigned Index = 0; Index < Run->StepCount; Index++) {
        Request(Run, File, &Run->Steps[Index], Index + 1);
    }
    Stage(Run, "closing %s", Name);
    Begin(Run, "close %s", Name);
    Status = IopCloseUser(File);
    Say(Run, "close %-30s %s\n", Name, CmdStatus(Status, Text));
}

static void Unload(RUN *Run)
{
    IOP_LEFTOVERS Left = {0, 0, 0, 0, 0};
    struct timespec From;
    Stage(Run, "DriverUnload");
    Begin(Run, "DriverUnload");
    clock_gettime(CLOCK_MONOTONIC, &From);
    NTSTATUS Status = LdrStopDriver(Run->Image, &Left);
    double Elapsed = Milliseconds(&From);
    Run->Unloaded = NT_SUCCESS(Status);
    json_object_set_new(Run->Root, "unloaded", json_boolean(Run->Unloaded));
    if (Status == STATUS_INVALID_DEVICE_REQUEST) {
        Say(Run, "%-36s it has none: the driver stays loaded, and nothing it holds counts as a leak\n", "DriverUnload");
        return;
    }
    char Text[64];
    if (!Run->Unloaded) {
        Say(Run, "%-36s %s\n", "DriverUnload", CmdStatus(Status, Text));
        Run->Findings++;
        return;
    }
    Say(Run, "%-36s done, %.2f ms\n", "DriverUnload", Elapsed);
    const struct {
        const char *One, *Many, *Key;
        ULONG Count;
    } Kinds[] = {{"device", "devices", "devices", Left.Devices},
                 {"symbolic link", "symbolic links", "symbolic_links", Left.SymbolicLinks},
                 {"open file", "open files", "open_files", Left.OpenFiles},
                 {"queued work item", "queued work items", "work_items", Left.WorkItems},
                 {"running timer", "running timers", "timers", Left.Timers}};
    json_t *Leftovers = json_object();
    for (size_t Index = 0; Index < ARRAYSIZE(Kinds); Index++) {
        if (Kinds[Index].Count != 0) {
            Say(Run, "    left behind: %u %s\n", Kinds[Index].Count,
                Kinds[Index].Count == 1 ? Kinds[Index].One : Kinds[Index].Many);
            json_object_set_new(Leftovers, Kinds[Index].Key, json_integer(Kinds[Index].Count));
            Run->Findings++;
        }
    }
    json_object_set_new(Run->Root, "left_behind", Leftovers);
}

static bool Entry(RUN *Run, LDR_IMAGE *Image)
{
    BOOLEAN Entered;
    char Error[LDR_ERROR_CHARS] = "", Text[64];
    struct timespec From;
    Stage(Run, "DriverEntry of %s", Image->Name);
    Begin(Run, "%s", Image == Run->Image ? "DriverEntry" : Image->Name);
    clock_gettime(CLOCK_MONOTONIC, &From);
    NTSTATUS Status = LdrStartDriver(Image, &Entered, Error, sizeof(Error));
    Say(Run, "%-36s %s, %.2f ms\n", Image == Run->Image ? "DriverEntry" : Image->Name, CmdStatus(Status, Text),
        Milliseconds(&From));
    if (Image == Run->Image) {
        json_object_set_new(Run->Root, "driver_entry", CmdHex((uint32_t)Status));
    }
    if (!NT_SUCCESS(Status)) {
        Say(Run, "    %s\n", Error);
        json_object_set_new(Run->Root, "error", json_string(Error));
        Run->Findings += !Run->Simulating;
    }
    return NT_SUCCESS(Status);
}

/* Makes the section "NAME=SIZE"; its handle stays open, as a program's would. */
static NTSTATUS MakeSection(const char *Text)
{
    const char *Size = strrchr(Text, '=');
    char Narrow[MAX_SECTION_NAME];
    WCHAR Wide[MAX_SECTION_NAME];
    OBJECT_ATTRIBUTES Attributes;
    UNICODE_STRING Name;
    LARGE_INTEGER Bytes;
    uint64_t Number = 0;
    HANDLE Handle;
    CmdNumber(Size + 1, &Number);
    Bytes.QuadPart = (LONGLONG)Number;
    snprintf(Narrow, sizeof(Narrow), "%.*s", (int)(Size - Text), Text);
    ToWide(Narrow, Wide, &Name);
    InitializeObjectAttributes(&Attributes, &Name, OBJ_KERNEL_HANDLE, NULL, NULL);
    return ZwCreateSection(&Handle, SECTION_ALL_ACCESS, &Attributes, &Bytes, PAGE_READWRITE, SEC_COMMIT, NULL);
}

/* Makes the registry key of the service "NAME=IMAGEPATH", as an installer would. */
static NTSTATUS MakeService(const char *Text)
{
    const char *Image = strchr(Text, '=');
    WCHAR Key[MAX_SECTION_NAME], Path[MAX_SECTION_NAME];
    char Narrow[MAX_SECTION_NAME];
    UNICODE_STRING Name;
    snprintf(Narrow, sizeof(Narrow), "%.*s", (int)(Image - Text), Text);
    ToWide(Narrow, Key, &Name);
    Key[Name.Length / sizeof(WCHAR)] = 0;
    ToWide(Image + 1, Path, &Name);
    Path[Name.Length / sizeof(WCHAR)] = 0;
    NTSTATUS Status = RtlCreateRegistryKey(RTL_REGISTRY_SERVICES, Key);
    return NT_SUCCESS(Status) ? RtlWriteRegistryValue(RTL_REGISTRY_SERVICES, Key, L"ImagePath", REG_EXPAND_SZ, Path,
                                                      Name.Length + (ULONG)sizeof(WCHAR))
                              : Status;
}

static void Session(void *Argument)
{
    RUN *Run = Argument;
    for (unsigned Index = 0; Index < Run->WithCount; Index++) {
        if (Run->WithImages[Index]->Pe.Subsystem == IMAGE_SUBSYSTEM_NATIVE && Run->WithImages[Index]->Pe.EntryPoint != 0 &&
            !Entry(Run, Run->WithImages[Index])) {
            return;
        }
    }
    if (!Entry(Run, Run->Image)) {
        Run->Unloaded = Run->Image->DriverObject == NULL; /* a failed DriverEntry owes everything too */
        return;
    }
    Requests(Run);
    if (!Run->Abandoned) { /* else it waits for its request, as a process does that cannot die */
        Stage(Run, "the program's process ends");
        Begin(Run, "the program's process ends");
        PspEndUserProcess(STATUS_SUCCESS);
    }
    Unload(Run);
    for (unsigned Index = Run->WithCount; Index > 0 && Run->Unloaded; Index--) {
        if (Run->WithImages[Index - 1]->DriverObject != NULL) {
            LdrStopDriver(Run->WithImages[Index - 1], NULL);
        }
    }
}

/* ---- its thread ---- */

typedef struct SESSION {
    RUN *Run;
    KEVENT Begin, Done, Quit;
    PVOID Thread;
    bool Stopped, Finished;
    KI_BUGCHECK Raw;
    ntmm_bugcheck Stop;
} SESSION;

static VOID SessionMain(PVOID Context)
{
    SESSION *Own = Context;
    KeWaitForSingleObject(&Own->Begin, Executive, KernelMode, FALSE, NULL);
    if (Own->Run != NULL) {
        Own->Stopped = !KiCatch(Session, Own->Run, &Own->Raw);
        Own->Finished = true;
    }
    KeSetEvent(&Own->Done, IO_NO_INCREMENT, FALSE);
    KeWaitForSingleObject(&Own->Quit, Executive, KernelMode, FALSE, NULL);
}

/* Makes the thread, which waits. */
static NTSTATUS PrepareSession(SESSION *Own)
{
    HANDLE Handle;
    KeInitializeEvent(&Own->Begin, NotificationEvent, FALSE);
    KeInitializeEvent(&Own->Done, NotificationEvent, FALSE);
    KeInitializeEvent(&Own->Quit, NotificationEvent, FALSE);
    NTSTATUS Status = PsCreateSystemThread(&Handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, SessionMain, Own);
    if (NT_SUCCESS(Status)) {
        ObReferenceObjectByHandle(Handle, 0, *PsThreadType, KernelMode, &Own->Thread, NULL);
        ZwClose(Handle);
    }
    return Status;
}

/* Runs the session; Run NULL: there is none to run. Comes back when it is over, or when its driver has ended the thread. */
static void RunSession(SESSION *Own, RUN *Run)
{
    PVOID Objects[2] = {&Own->Done, Own->Thread};
    Own->Run = Run;
    KeSetEvent(&Own->Begin, IO_NO_INCREMENT, FALSE);
    KeWaitForMultipleObjects(2, Objects, WaitAny, Executive, KernelMode, FALSE, NULL, NULL);
}

static void EndSession(SESSION *Own)
{
    KeSetEvent(&Own->Quit, IO_NO_INCREMENT, FALSE);
    KeWaitForSingleObject(Own->Thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(Own->Thread);
}

/* ---- the child ---- */

static bool LoadOne(RUN *Run, const char *Path, LDR_IMAGE **Image)
{
    char Error[LDR_ERROR_CHARS];
    Stage(Run, "loading %s", Path);
    if (!NT_SUCCESS(LdrLoadImage(Path, NULL, 0, Image, Error, sizeof(Error)))) {
        CmdComplain("%s: %s", Path, Error);
        return false;
    }
    return true;
}

/* A name that is misspelt would leave its driver unverified without a word. A driver that loads others may know more names. */
static void SayUnknownDrivers(const RUN *Run)
{
    for (const char *Name = Run->Options.verifier_drivers; *Name != 0;) {
        size_t Length = strcspn(Name, "+");
        bool Known = VfNamesDriver(Name, Run->Image->Name);
        for (unsigned Index = 0; Index < Run->WithCount && !Known; Index++) {
            Known = VfNamesDriver(Name, Run->WithImages[Index]->Name);
        }
        if (!Known) {
            fprintf(stderr, "ntmm: verifier_drivers: no driver here is called '%.*s': the one that runs is %s%s\n", (int)Length,
                    Name, Run->Image->Name, Run->WithCount != 0 ? ", and those of --with" : "");
        }
        Name += Length + (Name[Length] == '+');
    }
}

static void SayLoaded(RUN *Run, double Elapsed)
{
    const LDR_IMAGE *Image = Run->Image;
    json_t *Missing = json_array();
    char Size[32];
    Say(Run, "%s: %s at 0x%llx, %u import%s, loaded in %.2f ms\n", Image->Name, CmdBytes(Image->Size, Size),
        (unsigned long long)(ULONG_PTR)Image->Base, Image->ImportsBound + Image->ImportsMissing,
        Image->ImportsBound + Image->ImportsMissing == 1 ? "" : "s", Elapsed);
    if (Image->ImportsMissing != 0) {
        Say(Run, "  %u of them %s missing; the driver stops if it calls %s:\n", Image->ImportsMissing,
            Image->ImportsMissing == 1 ? "is" : "are", Image->ImportsMissing == 1 ? "it" : "one");
    }
    for (ULONG Index = 0; Index < Image->ImportsMissing; Index++) {
        Say(Run, "    %s\n", Image->Missing[Index]);
        json_array_append_new(Missing, json_string(Image->Missing[Index]));
    }
    Say(Run, "\n");
    json_object_set_new(Run->Root, "missing_imports", Missing);
    json_object_set_new(Run->Root, "load_milliseconds", json_real(Elapsed));
}

static void SayStop(RUN *Run, const ntmm_bugcheck *Stop)
{
    size_t Length = ntmm_report(Stop, false, NULL, 0);
    char *Text = malloc(Length + 1);
    if (Run->Doing[0] != 0) {
        Say(Run, "%-36s stopped:\n", Run->Doing);
        json_object_set_new(Run->Root, "stopped_in", json_string(Run->Doing));
    }
    Say(Run, "\n");
    if (Text != NULL) {
        ntmm_report(Stop, false, Text, Length + 1);
        if (Run->Progress->Shown) {
            fputs("\r\033[K", stderr);
            Run->Progress->Shown = 0;
        }
        fflush(stdout);
        while (Length != 0 && Text[Length - 1] == '\n') { /* the report goes on with an empty line */
            Text[--Length] = 0;
        }
        fprintf(stderr, "%s\n", Text);
        free(Text);
    }
    json_object_set_new(Run->Root, "bugcheck", HostStopJson(Stop));
}

/* Of a run with refused requests: names for what was found, while the images are there; whether it came to the refusals. */
static void SayFailures(RUN *Run)
{
    HOST_FAIL_TABLE *Table = HostFailArmed();
    if (Table == NULL) {
        return;
    }
    HostFailNameRecords(Table);
    if (Run->FailAt != NULL) {
        Say(Run, "%-36s %u of %u refused\n", "--fail-at", Table->Failed, Table->Depth);
        json_object_set_new(Run->Root, "refused", json_integer(Table->Failed));
        for (ULONG Index = 0; Index < Table->Count; Index++) {
            for (ULONG Step = 0; Step < Table->Failed; Step++) {
                if (Table->Records[Index].Key == Table->Path[Step]) {
                    Say(Run, "    %s: %s\n", HostFailResourceName(Table->Records[Index].Resource), Table->Records[Index].Where);
                }
            }
        }
        if (Table->Failed < Table->Depth) {
            Run->Findings++;
        }
    }
}

static RUN *Running;

/* The stop is another thread's: the parent makes the report of it. */
static VOID KeepStop(const ntmm_bugcheck *Stop, const char *Json)
{
    PROGRESS *Progress = Running->Progress;
    snprintf(Progress->StopName, sizeof(Progress->StopName), "%s", Stop->name);
    snprintf(Progress->StopJson, sizeof(Progress->StopJson), "%s", Json);
    __atomic_store_n(&Progress->StopCode, Stop->code, __ATOMIC_RELEASE);
}

static int Child(RUN *Run)
{
    struct timespec From;
    SESSION Own = {.Run = NULL};
    Run->Root = json_object();
    Run->Requests = json_array();
    json_object_set_new(Run->Root, "file", json_string(Run->Path));
    Stage(Run, "starting the system");
    Run->Options.json = false; /* a report on standard error is for people */
    Running = Run;
    HostStopRoutine = KeepStop;
    if (!ntmm_running() && ntmm_start(&Run->Options) != 0) {
        return CmdComplain("%s", ntmm_error());
    }
    for (unsigned Index = 0; Index < Run->SectionCount; Index++) {
        NTSTATUS Status = MakeSection(Run->Sections[Index]);
        char Text[64];
        if (!NT_SUCCESS(Status)) {
            ntmm_stop();
            return CmdComplain("--section %s: %s", Run->Sections[Index], CmdStatus(Status, Text));
        }
    }
    for (unsigned Index = 0; Index < Run->ServiceCount; Index++) {
        NTSTATUS Status = MakeService(Run->Services[Index]);
        char Text[64];
        if (!NT_SUCCESS(Status)) {
            ntmm_stop();
            return CmdComplain("--service %s: %s", Run->Services[Index], CmdStatus(Status, Text));
        }
    }
    NTSTATUS Prepared = PrepareSession(&Own);
    if (!NT_SUCCESS(Prepared)) {
        char Text[64];
        ntmm_stop();
        return CmdComplain("no thread to run the driver on: %s", CmdStatus(Prepared, Text));
    }
    CMD_BASELINE *Baseline = CmdTakeBaseline();
    ntmm_sample_memory(2);
    clock_gettime(CLOCK_MONOTONIC, &From);
    for (unsigned Index = 0; Index < Run->WithCount; Index++) {
        if (!LoadOne(Run, Run->With[Index], &Run->WithImages[Index])) {
            RunSession(&Own, NULL);
            EndSession(&Own);
            ntmm_stop();
            return CMD_USAGE;
        }
    }
    if (!LoadOne(Run, Run->Path, &Run->Image)) {
        RunSession(&Own, NULL);
        EndSession(&Own);
        ntmm_stop();
        return CMD_USAGE;
    }
    Run->Image->HardwareId = Run->Pnp;
    SayLoaded(Run, Milliseconds(&From));
    SayUnknownDrivers(Run);
    if (Run->FailAt != NULL && ntmm_fail_at(Run->FailAt) != 0) {
        RunSession(&Own, NULL);
        EndSession(&Own);
        ntmm_stop();
        return CmdComplain("--fail-at: %s", ntmm_error());
    }
    RunSession(&Own, Run);
    bool Stopped = Own.Stopped;
    SayFailures(Run);
    if (Stopped) {
        HostDescribeStop(&Own.Raw, &Own.Stop); /* reading debug information wants more stack than a kernel's */
        Run->Findings++;
        SayStop(Run, &Own.Stop);
    } else if (!Own.Finished) {
        Run->Findings++;
        Say(Run, "the driver ended the thread that ran it\n");
        json_object_set_new(Run->Root, "error", json_string("the driver ended the thread that ran it"));
    }
    json_object_set_new(Run->Root, "requests", Run->Requests);
    Run->Progress->Stage[0] = 0; /* no more lines: the report writes to the same terminal */
    if (Run->Progress->Shown && !Run->Json) {
        fputs("\r\033[K", stderr);
        Run->Progress->Shown = 0;
    }
    if (Baseline != NULL) {
        Run->Findings += CmdReportMemory(Baseline, Run->Unloaded && !Stopped, Stopped, Run->Json, Run->Root);
    }
    json_object_set_new(Run->Root, "findings", json_integer(Run->Findings));
    json_object_set_new(Run->Root, "milliseconds", json_real(Milliseconds(&From)));
    if (Run->Json) {
        CmdPrintJson(Run->Root);
    } else if (Stopped) {
        printf("\n%s was stopped by bug check 0x%X, %s.\n", Run->Image->Name, Own.Stop.code, Own.Stop.name);
    } else if (Run->Findings == 0) {
        printf("\n%s is clean.\n", Run->Image->Name);
    } else {
        printf("\n%s: %u finding%s.\n", Run->Image->Name, Run->Findings, Run->Findings == 1 ? "" : "s");
    }
    fflush(stdout);
    CmdFreeBaseline(Baseline);
    if (!Stopped && Own.Finished) {
        EndSession(&Own);
    }
    if (!Stopped && Run->Unloaded) {
        /* A driver that stays loaded, or was stopped half way, may have threads: the process takes them along. */
        LdrUnloadImage(Run->Image);
        for (unsigned Index = Run->WithCount; Index > 0; Index--) {
            LdrUnloadImage(Run->WithImages[Index - 1]);
        }
        ntmm_stop();
    }
    return Run->Findings == 0 ? CMD_CLEAN : CMD_FINDING;
}

/* A run of a campaign: as Child, its report into nothing. */
static ntmm_fail_outcome FailingRun(void *Context)
{
    RUN *Run = Context;
    int Code = Child(Run);
    json_t *Stop = json_object_get(Run->Root, "bugcheck");
    if (Stop != NULL) {
        HostFailSay(Run->Findings, "%s %s: %s", json_string_value(json_object_get(Stop, "code")),
                    json_string_value(json_object_get(Stop, "name")), json_string_value(json_object_get(Stop, "words")));
        return NTMM_FAIL_CRASHED;
    }
    if (Code == CMD_USAGE) {
        HostFailSay(0, "%s", "the driver could not be loaded");
        return NTMM_FAIL_WRONG;
    }
    if (Run->Findings != 0) {
        json_t *First = json_array_get(json_object_get(Run->Root, "not_freed"), 0);
        const char *Where = json_string_value(json_array_get(json_object_get(First, "allocated_at"), 0));
        HostFailSay(Run->Findings, "%u finding%s%s%s%s%s", Run->Findings, Run->Findings == 1 ? "" : "s",
                    First != NULL ? ", first a block not freed, tag " : "",
                    First != NULL ? json_string_value(json_object_get(First, "tag")) : "", Where != NULL ? " from " : "",
                    Where != NULL ? Where : "");
    }
    return NTMM_FAIL_HANDLED;
}

/* ---- the parent ---- */

static int Parent(RUN *Run, pid_t Pid)
{
    const char *Kind = getenv("TERM");
    bool Terminal = isatty(STDERR_FILENO) && Kind != NULL && strcmp(Kind, "dumb") != 0;
    struct timespec From;
    int Status;
    clock_gettime(CLOCK_MONOTONIC, &From);
    for (;;) {
        pid_t Got = waitpid(Pid, &Status, Terminal ? WNOHANG : 0);
        if (Got == Pid) {
            break;
        }
        if (Got < 0 && errno != EINTR) {
            return CmdComplain("lost the child process: %s", strerror(errno));
        }
        if (Terminal) {
            double Elapsed = Milliseconds(&From);
            if (Elapsed > 1000 && Run->Progress->Stage[0] != 0) {
                Run->Progress->Shown = 1;
                fprintf(stderr, "\r\033[Kntmm: %.80s, %.0f s", Run->Progress->Stage, Elapsed / 1000);
                fflush(stderr);
            }
            nanosleep(&(struct timespec){0, Elapsed < 50 ? 1000000 : Elapsed < 1000 ? 20000000 : 200000000}, NULL);
        }
    }
    if (Terminal && Run->Progress->Shown) {
        fputs("\r\033[K", stderr);
    }
    if (WIFEXITED(Status)) {
        return WEXITSTATUS(Status);
    }
    int Signal = WTERMSIG(Status);
    if (Signal == SIGPIPE) {
        return CmdComplain("nobody reads the report to its end");
    }
    const char *Name = strrchr(Run->Path, '/') != NULL ? strrchr(Run->Path, '/') + 1 : Run->Path;
    uint32_t Code = __atomic_load_n(&Run->Progress->StopCode, __ATOMIC_ACQUIRE);
    json_t *Stop = Code != 0 ? json_loads(Run->Progress->StopJson, 0, NULL) : NULL;
    if (Signal == SIGABRT && Code != 0) {
        if (!Run->Json) {
            printf("\n%s was stopped by bug check 0x%X, %s, on another thread than the requests', in: %.96s.\n", Name, Code,
                   Run->Progress->StopName, Run->Progress->Stage);
        }
    } else {
        fprintf(stderr, "ntmm: the run ended by signal %d (%s) while at: %.96s\n", Signal, strsignal(Signal),
                Run->Progress->Stage);
    }
    if (Run->Json) {
        json_t *Root = json_pack("{s:s, s:i, s:s, s:i}", "file", Run->Path, "signal", Signal, "stopped_in",
                                 Run->Progress->Stage, "findings", 1);
        if (Stop != NULL) {
            json_object_set(Root, "bugcheck", json_object_get(Stop, "stop"));
        }
        CmdPrintJson(Root);
    }
    json_decref(Stop);
    return CMD_FINDING;
}

int CmdRun(int Argc, char **Argv)
{
    static RUN Run = {.Timeout = TIMEOUT_MS};
    int Result = RunTakeArguments(&Run, Argc, Argv);
    if (Result != RUN_GO_ON) {
        return Result;
    }
    Run.Progress = mmap(NULL, sizeof(PROGRESS), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (Run.Progress == MAP_FAILED) {
        return CmdComplain("no memory");
    }
    Run.Simulating = Run.FailEach || Run.FailAt != NULL;
    if (Run.FailEach) {
        bool Json = Run.Json;
        Run.Json = true; /* of the runs: nothing but their outcome is wanted */
        return CmdFailEach(FailingRun, &Run, &Run.Failures, &Run.Options, Argc, Argv, Run.Path, Json);
    }
    if (Run.NoFork) {
        return Child(&Run);
    }
    fflush(NULL);
    pid_t Self = getpid(), Pid = fork();
    if (Pid < 0) {
        return CmdComplain("cannot start a process: %s", strerror(errno));
    }
    if (Pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != Self) {
            _exit(CMD_FINDING);
        }
        _exit(CmdFinishOutput(Child(&Run)));
    }
    return Parent(&Run, Pid);
}
