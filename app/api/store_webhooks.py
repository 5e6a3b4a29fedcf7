"""Inbound."""

from fastapi import APIRouter

from app.api.keyed import KeyedRoute

router = APIRouter(prefix="/v1/stores", tags=["Inbound"], route_class=KeyedRoute)
