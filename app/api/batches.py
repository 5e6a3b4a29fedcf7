"""Batches."""

from fastapi import APIRouter

from app.api.keyed import KeyedRoute

router = APIRouter(prefix="/v1/batches", tags=["Batches"], route_class=KeyedRoute)
