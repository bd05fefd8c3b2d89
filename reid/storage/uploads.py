"""Unfinished multipart uploads: killed writers leave them in a store, invisible but paid for."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from reid import storage
from reid.errors import StorageError


def abort_uploads(uri: str, age_s: float) -> list[str]:
    """Abort uploads below an s3:// prefix that began over `age_s` seconds ago; return the files' uris."""
    if not storage.is_remote(uri):
        return []
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, prefix = storage.absolute(uri).removeprefix("s3://").partition("/")
    latest = datetime.now(UTC) - timedelta(seconds=age_s)
    ended: list[str] = []

    def abort() -> None:
        client = _client()
        pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=f"{prefix}/")
        for upload in [u for page in pages for u in page.get("Uploads", [])]:
            if upload["Initiated"] <= latest:
                client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                ended.append(f"s3://{bucket}/{upload['Key']}")

    try:
        storage.retried(uri, abort, _is_store_out)
    except (BotoCoreError, ClientError) as error:
        raise StorageError(
            f"{uri}: its unfinished uploads cannot be ended ({error}). Check AWS_ENDPOINT_URL, AWS_REGION "
            "and the AWS credentials, or set build.clean=never and give the bucket a lifecycle rule for them."
        ) from error
    return ended


def _is_store_out(error: Exception) -> bool:
    from botocore.exceptions import ClientError, HTTPClientError

    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return bool(status >= 500 or status == 429)
    return isinstance(error, HTTPClientError)  # no connection, or one that broke


def _client() -> Any:
    """By the same variables as `storage.resolve`."""
    import boto3

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return boto3.client("s3", endpoint_url=endpoint, region_name=region)
