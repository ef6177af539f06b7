/*
 * folder.c - copies of folders of the host, for runs that must not see each other's files. SPDX-License-Identifier: MIT
 *
 * Files, folders and symbolic links are copied, with their modes; sockets, pipes and devices are left out. Used by drive.c for the
 * runs of a campaign of failures, each of which has a drive C: of its own; campaign.c takes the copies away.
 *
 * Watch it: tests/unit/fail_each_test.c.
 */
#include "host/drive.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_FOLDERS 16 /* that a walk keeps open */

static const char *Source, *Target; /* of the copy under way: one thread makes one, before the system's drivers run */

static int CopyFile(const char *From, const char *To, mode_t Mode)
{
    char Bytes[65536];
    ssize_t Got = -1;
    int In = open(From, O_RDONLY | O_CLOEXEC), Out = open(To, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, Mode | S_IWUSR);
    while (In >= 0 && Out >= 0 && (Got = read(In, Bytes, sizeof Bytes)) > 0)
        if (write(Out, Bytes, (size_t)Got) != Got) {
            Got = -1;
            break;
        }
    if (In >= 0)
        close(In);
    if (Out >= 0 && close(Out) != 0)
        Got = -1;
    return Got == 0 ? 0 : -1;
}

static int CopyOne(const char *Path, const struct stat *Facts, int Kind, struct FTW *Where)
{
    char To[PATH_MAX], Link[PATH_MAX];
    ssize_t Length;
    (void)Where;
    if ((size_t)snprintf(To, sizeof To, "%s%s", Target, Path + strlen(Source)) >= sizeof To)
        return -1;
    if (Kind == FTW_D)
        return mkdir(To, Facts->st_mode | S_IRWXU) == 0 || errno == EEXIST ? 0 : -1;
    if (Kind == FTW_SL) {
        Length = readlink(Path, Link, sizeof Link - 1);
        if (Length < 0)
            return -1;
        Link[Length] = 0;
        return symlink(Link, To);
    }
    return Kind == FTW_F && S_ISREG(Facts->st_mode) ? CopyFile(Path, To, Facts->st_mode & 0777) : 0;
}

static int RemoveOne(const char *Path, const struct stat *Facts, int Kind, struct FTW *Where)
{
    (void)Facts;
    (void)Kind;
    (void)Where;
    return remove(Path);
}

int NtmmpCopyFolder(const char *From, const char *To)
{
    Source = From;
    Target = To;
    return nftw(From, CopyOne, OPEN_FOLDERS, FTW_PHYS);
}

void NtmmpRemoveFolder(const char *Path)
{
    if (access(Path, F_OK) == 0)
        (void)nftw(Path, RemoveOne, OPEN_FOLDERS, FTW_PHYS | FTW_DEPTH);
}
