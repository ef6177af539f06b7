/*
 * paging.c - what page files and the compression store did, for the reports of `ntmm run` and `ntmm map`. SPDX-License-Identifier: MIT
 */
#include "cmd.h"

static json_t *FileJson(const ntmm_page_file *File)
{
    return json_pack("{s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "path", File->path,
                     "direct", File->direct, "checked", File->checked, "bytes", (json_int_t)File->bytes, "maximum_bytes",
                     (json_int_t)File->maximum_bytes, "used_bytes", (json_int_t)File->used_bytes, "peak_bytes",
                     (json_int_t)File->peak_bytes, "reads", (json_int_t)File->reads, "writes", (json_int_t)File->writes,
                     "bytes_read", (json_int_t)File->bytes_read, "bytes_written", (json_int_t)File->bytes_written,
                     "read_errors", (json_int_t)File->read_errors, "write_errors", (json_int_t)File->write_errors,
                     "corrupt_pages", (json_int_t)File->corrupt_pages, "retries", (json_int_t)File->retries);
}

static void PrintFile(const ntmm_page_file *File)
{
    char A[32], B[32], C[32], D[32];
    printf("%-22s %s of %s in use, at most %s, may grow to %s%s%s\n", File->path, CmdBytes(File->used_bytes, A),
           CmdBytes(File->bytes, B), CmdBytes(File->peak_bytes, C), CmdBytes(File->maximum_bytes, D),
           File->direct ? "; past the host's cache" : "; through the host's cache", File->checked ? "; checksums" : "");
    printf("%-22s %s in %s reads, %s in %s writes\n", "", CmdBytes(File->bytes_read, A), CmdCount(File->reads, B),
           CmdBytes(File->bytes_written, C), CmdCount(File->writes, D));
    if (File->read_errors + File->write_errors + File->corrupt_pages != 0) {
        printf("%-22s %s failed reads, %s failed writes, %s pages with a wrong checksum\n", "", CmdCount(File->read_errors, A),
               CmdCount(File->write_errors, B), CmdCount(File->corrupt_pages, C));
    }
}

void CmdReportPageFiles(bool Json, json_t *Root)
{
    json_t *Files = json_array(), *Store;
    ntmm_page_file *File = malloc(sizeof *File);
    ntmm_page_store Stored;
    char A[32], B[32], C[32], D[32], E[32];
    bool Any = false;
    for (unsigned Number = 0; File != NULL && Number < 16; Number++) {
        if (!ntmm_query_page_file(Number, File)) {
            continue;
        }
        if (!Json && !Any) {
            printf("\nPage files (through %s)\n", ntmm_io_engine());
        }
        Any = true;
        if (Json) {
            json_array_append_new(Files, FileJson(File));
        } else {
            PrintFile(File);
        }
    }
    free(File);
    Store = json_null();
    if (ntmm_query_page_store(&Stored)) {
        Store = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "limit_bytes", (json_int_t)Stored.limit_bytes,
                          "resident_bytes", (json_int_t)Stored.resident_bytes, "pages", (json_int_t)Stored.pages,
                          "compressed_bytes", (json_int_t)Stored.compressed_bytes, "in", (json_int_t)Stored.in, "out",
                          (json_int_t)Stored.out, "refused", (json_int_t)Stored.refused, "evicted", (json_int_t)Stored.evicted,
                          "failed", (json_int_t)Stored.failed);
        if (!Json) {
            printf("%-22s %s pages in %s of at most %s; %s taken in, %s read back\n", "Compressed in RAM",
                   CmdCount(Stored.pages, A), CmdBytes(Stored.resident_bytes, B), CmdBytes(Stored.limit_bytes, C),
                   CmdCount(Stored.in, D), CmdCount(Stored.out, E));
        }
    }
    if (Root != NULL) {
        json_object_set_new(Root, "io_engine", json_string(ntmm_io_engine()));
        json_object_set_new(Root, "page_files", Files);
        json_object_set_new(Root, "page_store", Store);
    } else {
        json_decref(Files);
        json_decref(Store);
    }
}
