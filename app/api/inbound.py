"""Inbound."""

from fastapi import APIRouter

from app.api.keyed import KeyedRoute

router = APIRouter(prefix="/v1/inbound", tags=["Inbound"], route_class=KeyedRoute)
